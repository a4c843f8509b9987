"""What a kernel can report to the plan that runs it: a code, the value found and the limit it broke."""

LABEL_OUT_OF_RANGE = 1
INDEX_OUT_OF_RANGE = 2
NOT_FINITE = 3
KERNEL_RAISED = 4
LENGTH_OUT_OF_RANGE = 5
UNPROVEN = 6
"""Numbers so large that it cannot be told at once whether all that follows from them is finite."""
WRITTEN_NOT_FINITE = 7
"""A variable was overwritten with numbers of which some are not finite."""
