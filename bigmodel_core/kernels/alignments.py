"""The sums over all alignments of one sequence with its labels, for kernels of all devices.

A state is a blank, of which there is one more than labels, or a label; blanks come first in arrays of states.
Sums are logarithms (Graves et al., 2006), and those of a step are relative to the largest of the step before:
they stay near 0, and long sequences lose no digits. `never` is the logarithm of 0. Loops over states become
vector code on the CPU.
"""

from __future__ import annotations

from math import exp, log

from bigmodel_core.kernels.extremes import larger
from bigmodel_core.kernels.inlining import inline


def log_sum(a, b, never):
    """log(exp(a) + exp(b))."""
    top = larger(a, b)
    return never if top == never else top + log(exp(a - top) + exp(b - top))


def log_sum3(a, b, c, never):
    """log(exp(a) + exp(b) + exp(c))."""
    top = larger(larger(a, b), c)
    return never if top == never else top + log(exp(a - top) + exp(b - top) + exp(c - top))


inline(log_sum, log_sum3)


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
        is_whole = t == 0 or t >= steps
        for state in range(0 if is_whole else count + 1, first):
            here[state] = never
        for state in range(first if is_whole else first + count, here.shape[0]):
            here[state] = never
    if steps == 0:
        return total + (never if count > 0 else nothing)
    blanks, letters = paths[0, :first], paths[0, first:]
    blanks[0] = x[0, blank]
    if count > 0:
        letters[0] = x[0, labels[0]]
    for t in range(1, steps):
        old_blanks, old_letters = blanks, letters
        blanks, letters = paths[t, :first], paths[t, first:]
        shift = old_blanks[0]
        for j in range(1, count + 1):
            shift = larger(shift, old_blanks[j])
        for j in range(count):
            shift = larger(shift, old_letters[j])
        if shift == never:
            shift = nothing
        total += shift
        chances = x[t]
        is_blank = chances[blank] - shift
        blanks[0] = old_blanks[0] + is_blank
        for j in range(1, count + 1):
            blanks[j] = log_sum(old_blanks[j], old_letters[j - 1], never) + is_blank
        if count > 0:
            letters[0] = log_sum(old_letters[0], old_blanks[0], never) + (chances[labels[0]] - shift)
        for j in range(1, count):
            skipping = old_letters[j - 1] if labels[j] != labels[j - 1] else never
            entered = log_sum3(old_letters[j], old_blanks[j], skipping, never)
            letters[j] = entered + (chances[labels[j]] - shift)
    return total + log_sum(blanks[count], letters[count - 1] if count > 0 else never, never)


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
    # All ways from a state to the end, without the state itself; those of the step behind, with it.
    blanks, letters = rows[0, :first], rows[0, first:]
    later_blanks, later_letters = rows[1, :first], rows[1, first:]
    of_blanks, of_letters = rows[2, :first], rows[2, first:]
    for t in range(steps - 1, -1, -1):
        if t == steps - 1:
            for j in range(count):
                blanks[j] = never
                letters[j] = never
            blanks[count] = nothing
            if count > 0:
                letters[count - 1] = nothing
        else:
            for j in range(count):
                blanks[j] = log_sum(later_blanks[j], later_letters[j], never)
            blanks[count] = later_blanks[count]
            for j in range(count - 1):
                skipping = later_letters[j + 1] if labels[j] != labels[j + 1] else never
                letters[j] = log_sum3(later_letters[j], later_blanks[j + 1], skipping, never)
            if count > 0:
                letters[count - 1] = log_sum(later_letters[count - 1], later_blanks[count], never)
        to_blanks, to_letters, chances, found = paths[t, :first], paths[t, first:], x[t], out[t]
        top = blanks[0] + to_blanks[0]
        for j in range(1, count + 1):
            top = larger(top, blanks[j] + to_blanks[j])
        for j in range(count):
            top = larger(top, letters[j] + to_letters[j])
        share = nothing
        for j in range(count + 1):
            of_blanks[j] = exp(blanks[j] + to_blanks[j] - top)
            share += of_blanks[j]
        total = share
        for j in range(count):
            of_letters[j] = exp(letters[j] + to_letters[j] - top)
            total += of_letters[j]
        scale = dy / total
        found[blank] = -share * scale
        for j in range(count):
            found[labels[j]] -= of_letters[j] * scale
        is_blank = chances[blank] - top
        for j in range(count + 1):
            later_blanks[j] = blanks[j] + is_blank
        for j in range(count):
            later_letters[j] = letters[j] + (chances[labels[j]] - top)
