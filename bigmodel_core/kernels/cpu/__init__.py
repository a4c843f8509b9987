"""Kernels for the CPU: a file or package for each file of `ops`, of the same name, and what they share.

`engine/` compiles and runs them.
"""
