"""Sunspots, forecast year by year: an LSTM is trained on whole sequences, and then answers as each number
comes in, since a session keeps its state. A copy of the session goes on from its own forecasts. The exported
file answers step by step, too: there the state is an input and an output."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import onnxruntime

import bigmodel_core as bm


def series_of(split: Any) -> np.ndarray:
    """The numbers whose windows, one later each, are the samples of a split."""
    return np.concatenate([split.x[:-1, 0, 0], split.x[-1, :, 0], split.y[-1]]).astype("float32")


def main(steps: int = 600, file: str = "streaming.onnx") -> float:
    """Train, stream, export; returns the error of forecasts as a share of that of "as in the year before"."""
    data = bm.datasets.load("sunspots")
    known, late = series_of(data.train), series_of(data.test)
    model = bm.Sequential(bm.layers.LSTM(32, carry=True), bm.layers.Dense(1))
    step = bm.compile(model, loss="mean_squared_error", optimizer=bm.optimizers.Adam(3e-3))
    generator, loss = np.random.default_rng(0), 0.0
    for _ in range(steps):
        begin = generator.integers(0, len(known) - 60, 32)
        parts = known[begin[:, None] + np.arange(61)][..., None]
        loss = step(parts[:, :-1], parts[:, 1:])

    session = model.session()  # one number in, one forecast out
    session(known[-60:].reshape(1, -1, 1))
    forecasts = np.array([session(number.reshape(1, 1, 1)).item() for number in late])
    error = np.abs(forecasts[:-1] - late[1:]).mean() / np.abs(late[:-1] - late[1:]).mean()
    future, years = session.copy(), [forecasts[-1]]  # goes on from here, on its own
    while len(years) < 5:
        years.append(future(np.full((1, 1, 1), years[-1], "float32")).item())

    model.build(bm.Spec(("N", "T", 1)))  # the same parameters, for any number of steps
    bm.export(model, file)
    runtime = onnxruntime.InferenceSession(file)
    state = {name: np.zeros((1, 32), "float32") for name in session.state()}
    for number in (*known[-60:], *late):
        forecast, *after = runtime.run(None, {"x": number.reshape(1, 1, 1), **state})
        state = dict(zip(state, after, strict=True))
    assert np.allclose(forecast.item(), forecasts[-1], atol=1e-4)
    print(
        f"loss {loss:.4f}, error {error:.2f}, five years on: {' '.join(f'{n:.2f}' for n in years)}, in {file}"
    )
    return float(error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    main(parser.parse_args().steps)
