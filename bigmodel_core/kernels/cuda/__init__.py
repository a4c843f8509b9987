"""Kernels for CUDA devices: a file or package for each file of `ops`, of the same name, and what they share.

`engine/` compiles and runs them; nothing here imports Numba before a device is requested.
"""
