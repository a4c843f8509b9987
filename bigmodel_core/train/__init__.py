"""Training: the step as one graph, the trainer's loop around it, checkpoints."""
