"""Kernels for CUDA devices, written in Python and compiled by Numba.

Nothing here imports Numba before a device is asked for.
"""
