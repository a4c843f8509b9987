"""Networks: layers, parameters, models, losses, optimizers and what they are built from."""
