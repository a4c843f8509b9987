"""Kernels written in Python: compiled by Numba for the CPU (`cpu/`) and for CUDA (`cuda/`), cached on disk.

Nothing here imports Numba before a kernel must be compiled.
"""
