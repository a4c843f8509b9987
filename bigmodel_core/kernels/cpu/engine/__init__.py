"""From Python functions to native code on the CPU, and to launches that run on a pool of threads."""
