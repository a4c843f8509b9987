"""The sums over all alignments of one sequence with its labels, for kernels of all devices.

A state is a blank, of which there is one more than labels, or a label; blanks come first in arrays of states.
Sums are logarithms (Graves et al., 2006), and those of a step are relative to the largest of the step before:
they stay near 0, and long sequences lose no digits. `never` is the logarithm of 0. Loops over states become
vector code on the CPU.
"""

from __future__ import annotations

from math import exp, log

from bigmodel_core.kernels.extremes import larger


def log_sum(a, b, never):
    """log(exp(a) + exp(b))."""
    top = larger(a, b)
    return never if top == never else top + log(exp(a - top) + exp(b - top))


def log_sum3(a, b, c, never):
    """log(exp(a) + exp(b) + exp(c))."""
    top = larger(larger(a, b), c)
    return never if top == never else top + log(exp(a - top) + exp(b - top) + exp(c - top))


log_sum.is_inlined = log_sum3.is_inlined = True  # type: ignore[attr-defined]  # for loops that become vector code


def first_wrong(labels, count, blank, classes):
    """The place of the first label that is the blank, or out of range; -1 if all are right."""
    for j in range(count):
        if labels[j] < 0 or labels[j] >= classes or labels[j] == blank:
            return j
    return -1


def forward(paths, x, labels, steps, count, blank, nothing, never, total):
    """The logarithm of the chance of all alignments of a sequence.

    paths (T, 2 L + 1) becomes that of all ways to each state, but for a number that each step has of its
    own. x (T, C) are logarithms of chances, labels (L,). `nothing` is 0, and so is `total`, in the type in
    which it is added up.
    """
    first = labels.shape[0] + 1
    for t in range(paths.shape[0]):
        here = paths[t]
        for state in range(0 if t == 0 or t >= steps else count + 1, first):
            here[state] = never
        for state in range(first if t == 0 or t >= steps else first + count, here.shape[0]):
            here[state] = never
    if steps == 0:
        return total + (never if count > 0 else nothing)
    here = paths[0]
    here[0] = x[0, blank]
    if count > 0:
        here[first] = x[0, labels[0]]
    for t in range(1, steps):
        before = paths[t - 1]
        here = paths[t]
        shift = before[0]
        for j in range(1, count + 1):
            shift = larger(shift, before[j])
        for j in range(first, first + count):
            shift = larger(shift, before[j])
        if shift == never:
            shift = nothing
        total += shift
        is_blank = x[t, blank] - shift
        here[0] = before[0] + is_blank
        for j in range(1, count + 1):
            here[j] = log_sum(before[j], before[first + j - 1], never) + is_blank
        if count > 0:
            here[first] = log_sum(before[first], before[0], never) + (x[t, labels[0]] - shift)
        for j in range(1, count):
            skipping = before[first + j - 1] if labels[j] != labels[j - 1] else never
            entered = log_sum3(before[first + j], before[j], skipping, never)
            here[first + j] = entered + (x[t, labels[j]] - shift)
    last = paths[steps - 1]
    return total + log_sum(last[count], last[first + count - 1] if count > 0 else never, never)


def backward(out, dy, x, labels, steps, count, paths, rows, blank, is_zero, nothing, never):
    """Minus dy times the chance, among all alignments, that a step is in a state of each class: out (T, C).

    paths are those that `forward` made. rows (3, 2 L + 1) is scratch. A sequence that has no alignment gets
    zeros if `is_zero`, else NaN.
    """
    first = labels.shape[0] + 1
    for t in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[t, k] = nothing
    if steps == 0:
        return
    last = paths[steps - 1]
    if last[count] == never and (count == 0 or last[first + count - 1] == never):
        if not is_zero:
            for t in range(steps):
                for k in range(out.shape[1]):
                    out[t, k] = never - never
        return
    here = rows[0]  # all ways from a state to the end, without the state itself
    after = rows[1]  # the same of the step behind, with the state itself
    share = rows[2]
    for t in range(steps - 1, -1, -1):
        if t == steps - 1:
            for state in range(here.shape[0]):
                here[state] = never
            here[count] = nothing
            if count > 0:
                here[first + count - 1] = nothing
        else:
            for j in range(count):
                here[j] = log_sum(after[j], after[first + j], never)
            here[count] = after[count]
            for j in range(count - 1):
                skipping = after[first + j + 1] if labels[j] != labels[j + 1] else never
                here[first + j] = log_sum3(after[first + j], after[j + 1], skipping, never)
            if count > 0:
                here[first + count - 1] = log_sum(after[first + count - 1], after[count], never)
        way = paths[t]
        top = never
        for j in range(count + 1):
            top = larger(top, here[j] + way[j])
        for j in range(first, first + count):
            top = larger(top, here[j] + way[j])
        blanks = nothing
        for j in range(count + 1):
            share[j] = exp(here[j] + way[j] - top)
            blanks += share[j]
        total = blanks
        for j in range(first, first + count):
            share[j] = exp(here[j] + way[j] - top)
            total += share[j]
        scale = dy / total
        out[t, blank] = -blanks * scale
        for j in range(count):
            out[t, labels[j]] -= share[first + j] * scale
        for j in range(count + 1):
            after[j] = here[j] + (x[t, blank] - top)
        for j in range(count):
            after[first + j] = here[first + j] + (x[t, labels[j]] - top)
