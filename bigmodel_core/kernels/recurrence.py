"""What the kernels of recurrent cells of all devices have in common."""

from __future__ import annotations

CELLS = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
"""The kinds of cells, and how many gates each has."""

SAVED = {
    "tanh": ("previous",),
    "relu": ("previous",),
    "lstm": ("previous", "gates", "cells"),
    "gru": ("previous", "gates", "candidates"),
}
"""What the forward run keeps for the gradient, after `y` and the last states."""
