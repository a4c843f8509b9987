"""From Python functions to launches on a CUDA device, recorded and replayed."""
