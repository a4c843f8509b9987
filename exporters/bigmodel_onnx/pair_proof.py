"""Proof that an encoder's file and its decoder's write what the model writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.errors import BigmodelError, ExportError
from bigmodel_onnx.carried import Calls
from bigmodel_onnx.forms import IDS, MASK
from bigmodel_onnx.pair import SOURCE, SOURCE_MASK, TARGET, PairForm
from bigmodel_onnx.session import open_session, run_session
from bigmodel_onnx.verify import difference, drawn_inputs

if TYPE_CHECKING:
    from bigmodel_core.data.tokenizer import Tokenizer

STEPS, SOURCES = 6, 3
"""How many tokens are written, and for how many sources."""


def prove(encoder: Path, decoder: Path, form: PairForm, start: int, tolerance: float | None) -> float:
    """Write targets, the most probable token after each other, by the files and by the model; returns the
    largest difference of scores.

    Args:
        encoder, decoder: the files.
        form: that of the model.
        start: the token that a target begins with.
        tolerance: relative difference that is allowed; by number type if None.

    Raises:
        ExportError: they differ.
    """
    name, target = form.network.input_names
    (drawn,) = drawn_inputs(form.network, [SOURCES]).values()
    source = form.drawn(drawn)[name]
    written = np.full((SOURCES, 1), start)
    calls = Calls(form.network, {name: source})
    first, second = open_session(encoder), open_session(decoder)
    ports = form.inputs({name: source, target: written}, calls.state())
    memory = run_session(first, {IDS: ports[SOURCE], MASK: ports[SOURCE_MASK]}, encoder.name)
    given = dict(zip((item.name for item in first.get_outputs()), memory, strict=True))
    given |= {key: array for key, array in ports.items() if key not in (SOURCE, SOURCE_MASK, TARGET)}
    largest = 0.0
    for number in range(STEPS):
        try:
            wanted = calls({name: source, target: written})[0]
        except BigmodelError:
            if number:  # it writes no more
                break
            raise
        found, *present = run_session(second, {IDS: written, **given}, decoder.name)
        gap, allowed = difference(found, wanted, tolerance)
        largest = max(largest, gap)
        if gap > allowed:
            raise ExportError(
                f"the encoder and the decoder do not write what the model writes: at token {number + 1},"
                f" scores differ by {gap:.3g}, expected at most {allowed:.3g}.",
                where=decoder.name,
                fix="raise tolerance if the model is so sensitive to rounding; no file was written.",
            )
        written = wanted[:, -1:].argmax(-1)
        given |= dict(zip(form.past.values(), present, strict=True))
    return largest


def start_of(tokenizer: Tokenizer | None) -> int:
    """The token that targets begin with."""
    return tokenizer.special("start") if tokenizer is not None and tokenizer.has("start") else 0
