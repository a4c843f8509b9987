"""Export: the contract of exporters, and the functions that choose one."""
