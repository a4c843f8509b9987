"""A kernel reports failures to the plan that runs it in four integers, the first of which is a code."""

CODE, FOUND, LIMIT, POSITION = range(4)
"""The slots of a status: what went wrong, the value found, the limit it broke, and its position."""
WIDTH = 4
"""Integers of a status."""

# Codes ------------------------------------------------------------------------------------------------------

OK = 0
LABEL_OUT_OF_RANGE = 1
INDEX_OUT_OF_RANGE = 2
NOT_FINITE = 3
KERNEL_RAISED = 4
LENGTH_OUT_OF_RANGE = 5
UNPROVEN = 6
"""Numbers so large that what is computed from them may not be finite."""
WRITTEN_NOT_FINITE = 7
"""A variable was overwritten with numbers that are not all finite."""
SLICE_OUT_OF_RANGE = 8
PLACE_OUT_OF_RANGE = 9
TARGET_OUT_OF_RANGE = 10
"""A label of a sequence of labels."""
TARGET_IS_BLANK = 11
TARGET_LENGTH_OUT_OF_RANGE = 12
