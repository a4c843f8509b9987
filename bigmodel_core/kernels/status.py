"""Codes by which a kernel reports a failure, in four integers: what, the value found, its limit, its
position.

```python
def looked_up(out, table, index, start, stop, status):
    for i in range(start, stop):
        if not 0 <= index[i] < table.shape[0]:
            status[POSITION], status[FOUND], status[LIMIT] = i, index[i], table.shape[0]
            status[CODE] = INDEX_OUT_OF_RANGE      # the run stops, and the error tells the three
            return
        out[i] = table[index[i]]
```

with `CODE = bm.status.CODE` and so on at the top of the file. Any other code is an error, too, which names
the op and the code.
"""

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
