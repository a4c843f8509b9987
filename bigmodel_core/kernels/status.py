"""What a kernel can report to the plan that runs it: four integers, of which the first is a code."""

CODE, FOUND, LIMIT, POSITION = range(4)
"""The places of a status: what went wrong (0 is nothing), the value found, the limit it broke, and where."""
WIDTH = 4
"""Integers of a status."""

# Codes ------------------------------------------------------------------------------------------------------

LABEL_OUT_OF_RANGE = 1
INDEX_OUT_OF_RANGE = 2
NOT_FINITE = 3
KERNEL_RAISED = 4
LENGTH_OUT_OF_RANGE = 5
UNPROVEN = 6
"""Numbers so large that it cannot be told at once whether all that follows from them is finite."""
WRITTEN_NOT_FINITE = 7
"""A variable was overwritten with numbers of which some are not finite."""
