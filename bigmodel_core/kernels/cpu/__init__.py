"""CPU kernels: native functions of (context address, chunk), run by a table walker on a thread pool."""
