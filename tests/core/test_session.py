"""Sessions: state that layers carry from call to call."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import (
    BigmodelError,
    ConfigError,
    DataError,
    DtypeError,
    GraphError,
    ShapeError,
    UsageError,
)

X = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
CELLS = ("RNN", "LSTM", "GRU")


@dataclass(frozen=True)
class RunningSum(bm.Layer):
    """The sum of all inputs so far."""

    start: float = 0.0

    def __call__(self, x: Any) -> Any:
        total = self.carried("total", x.shape, initial=self.start) + x
        self.assign("total", total)
        return total


@dataclass(frozen=True)
class Counter(bm.Layer):
    """How many calls there were, added to a learned beginning."""

    def __call__(self, x: Any) -> Any:
        count = self.carried("count", (), "int64", initial=5)
        self.assign("count", count + 1)
        mean = self.carried("mean", ("N", 2), initial=self.parameter("start", (2,), 0.5))
        self.assign("mean", mean * 2)
        return x[:, :2] * 0 + mean + count.astype("float32")


def stepwise(session: Any, x: np.ndarray) -> np.ndarray:
    return np.concatenate([session(x[:, t : t + 1]) for t in range(x.shape[1])], axis=1)


# Recurrent layers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_of_a_session_equal_pytorch_s_whole_sequence(cell: str, layers: int, torch: Any) -> None:
    model = getattr(bm.layers, cell)(5, layers=layers, carry=True)
    whole = model(X)
    theirs = getattr(torch.nn, cell)(4, 5, num_layers=layers, batch_first=True)
    names = {"input_weight": "weight_ih", "recurrent_weight": "weight_hh"}
    names |= {"input_bias": "bias_ih", "recurrent_bias": "bias_hh"}
    with torch.no_grad():
        for number in range(layers):
            for ours, their in names.items():
                array = model.state()[ours + (f"_{number + 1}" if number else "")]
                getattr(theirs, f"{their}_l{number}").copy_(torch.tensor(array.T))
        wanted = theirs(torch.tensor(X))[0].numpy()
    session = model.session()
    assert np.allclose(stepwise(session, X), wanted, atol=1e-6)
    assert np.allclose(whole, wanted, atol=1e-6)
    session.reset()
    first, second = session(X[:, :4]), session(X[:, 4:])  # pieces of any length
    assert np.allclose(np.concatenate([first, second], 1), wanted, atol=1e-6)


def test_a_model_that_was_trained_on_whole_sequences_answers_step_by_step() -> None:
    model = bm.Sequential(bm.layers.LSTM(5, carry=True), bm.layers.Dense(2))
    step = bm.compile(model, "mean_squared_error", bm.optimizers.Adam(0.01))
    session = None
    for _ in range(3):
        step(X, np.zeros((3, 6, 2), "float32"))
        session = session or model.session()
        session.reset()
        assert np.allclose(stepwise(session, X), model(X), atol=1e-6)  # it sees what training changed


def test_training_with_carry_is_training_without() -> None:
    losses = []
    for carry in (False, True):
        model = bm.Sequential(bm.layers.GRU(5, carry=carry), bm.layers.Dense(2))
        step = bm.compile(model, "mean_squared_error", bm.optimizers.Adam(0.01))
        losses.append([step(X, np.ones((3, 6, 2), "float32")) for _ in range(5)])
    assert losses[0] == losses[1]


def test_a_row_s_state_is_that_of_its_own_last_step() -> None:
    model = bm.layers.LSTM(5, carry=True)
    spec = (bm.Spec(("N", "T", 4)), bm.Spec(("N",), "int64"))
    model.build(*spec)
    session, alone = model.session(), model.session()
    session(X, np.array([2, 6, 4]))
    alone(X[:1, :2], np.array([2]))
    assert np.allclose(session.state()["cell"][0], alone.state()["cell"][0], atol=1e-6)


def test_what_carries_cannot_run_backwards_or_be_given_states() -> None:
    with pytest.raises(ConfigError, match="the reverse direction begins at the end"):
        bm.layers.LSTM(3, carry=True, bidirectional=True)
    with pytest.raises(ShapeError, match="carries its own"):
        bm.layers.RNN(3, carry=True).build(bm.Spec(("N", "T", 4)), bm.Spec(("N", 3)))


# What is carried -------------------------------------------------------------------------------------------


def test_outside_a_session_every_call_begins_anew() -> None:
    model = RunningSum(2.0)
    assert (model(X) == X + 2).all() and (model(X) == X + 2).all()
    session = model.session()
    assert np.allclose([session(X), session(X)], [X + 2, 2 * X + 2])
    assert (model(X) == X + 2).all()


def test_states_have_types_and_learned_beginnings_of_their_own() -> None:
    model = Counter()
    x = np.ones((2, 3), "float32")
    assert (model(x) == 5.5).all()
    session = model.session()
    assert [session(x)[0, 0] for _ in range(3)] == [5.5, 7, 9]
    assert session.state()["count"] == 8 and session.state()["count"].dtype == "int64"
    step = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.5))
    step(x, np.full((2, 2), 6.5, "float32"))
    session.reset()
    assert session(x)[0, 0] == 5 + model.state()["start"][0] != 5.5  # trained, and seen after a reset


def test_a_layer_called_twice_goes_on_from_itself() -> None:
    @dataclass(frozen=True)
    class Twice(bm.Layer):
        inner: bm.Layer

        def __call__(self, x: Any) -> Any:
            self.inner(x)
            return self.inner(x)

    model = Twice(RunningSum())
    session = model.build(bm.Spec(("N", 2))).session()
    x = np.ones((1, 2), "float32")
    assert [float(session(x)[0, 0]) for _ in range(2)] == [2, 4]
    assert list(session.state()) == ["inner/total"]


def test_sessions_do_not_disturb_each_other() -> None:
    model = RunningSum()
    model(X)
    one, other = model.session(), model.session()
    one(X)
    assert (other(2 * X) == 2 * X).all()
    assert np.allclose(one(X), 2 * X)
    third = one.copy()
    assert np.allclose([third(X), one(X), one(X)], [3 * X, 3 * X, 4 * X])


def test_sessions_run_in_threads_beside_each_other() -> None:
    model = bm.Sequential(bm.layers.LSTM(8, carry=True), bm.layers.Dense(2)).build(bm.Spec(("N", "T", 4)))
    inputs = [np.random.default_rng(seed).normal(size=(2, 40, 4)).astype("float32") for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: stepwise(model.session(), x), inputs))
    for result, x in zip(found, inputs, strict=True):
        assert np.allclose(result, model(x), atol=1e-6)


def test_the_batch_is_reordered_with_all_its_states() -> None:
    @dataclass(frozen=True)
    class Columns(bm.Layer):
        """A state that has its batch last."""

        def __call__(self, x: Any) -> Any:
            sums = self.carried("sums", (2, x.shape[0]))
            self.assign("sums", sums + bm.ops.transpose(x, (1, 0)))
            return RunningSum()(x) + bm.ops.transpose(sums, (1, 0))

    model = Columns().build(bm.Spec(("N", 2)))
    session = model.session()
    x = np.arange(6, dtype="float32").reshape(3, 2)
    session(x)
    before = session.state()
    session.reorder([2, 2, 0])
    after = session.state()
    assert (after["sums"] == before["sums"][:, [2, 2, 0]]).all()
    assert (after["running_sum_1/total"] == before["running_sum_1/total"][[2, 2, 0]]).all()


def test_a_state_is_read_and_set_by_path() -> None:
    model = bm.Sequential(RunningSum(), RunningSum())
    model(X)
    session = model.session()
    session(X)
    kept = session.state()
    assert list(kept) == ["running_sum_1/total", "running_sum_2/total"]
    then = session(X)
    fresh = model.session()
    fresh.load_state(kept)
    assert fresh.batch_size == 3 and (fresh(X) == then).all()
    for wrong in (
        {"running_sum_1/total": X},
        {**kept, "other": X},
        {**kept, "running_sum_2/total": X[:, :2]},
        {**kept, "running_sum_1/total": X[:1]},
        None,
    ):
        before = fresh.state()
        with pytest.raises(BigmodelError):
            fresh.load_state(wrong)
        assert all((fresh.state()[path] == array).all() for path, array in before.items())


def test_memory_for_states_is_taken_once() -> None:
    model = bm.layers.GRU(5, carry=True).build(bm.Spec(("N", "T", 4)))
    session = model.session(batch_size=3)
    memory = session._variables.memory("hidden")
    for steps in (1, 2, 3, 1):
        session(X[:, :steps])
    session.reset()
    assert session._variables.memory("hidden") is memory


def test_saved_models_and_parts_carry_too() -> None:
    model = bm.Sequential(bm.layers.LSTM(5, carry=True), bm.layers.Dense(2))
    network = model.build(bm.Spec(("N", "T", 4)))
    file = io.BytesIO()
    bm.save(network, file)
    file.seek(0)
    loaded = bm.load(file)
    assert np.allclose(stepwise(loaded.session(), X), model(X), atol=1e-6)
    inner = loaded.part("lstm_1")
    assert np.allclose(stepwise(inner.session(), X), model.part("lstm_1")(X), atol=1e-6)
    assert list(bm.Sequential(loaded).build(bm.Spec(("N", "T", 4))).session(3).state()) == [
        "restored_model_1/lstm_1/hidden",
        "restored_model_1/lstm_1/cell",
    ]


# Errors ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Odd(bm.Layer):
    """Does one thing wrong."""

    what: str

    def __call__(self, x: Any) -> Any:
        match self.what:
            case "unknown":
                self.carried("keys", x.shape)
                self.assign("kyes", x)
            case "nothing":
                self.assign("keys", x)
            case "shape":
                self.carried("keys", x.shape)
                self.assign("keys", x[:, :1])
            case "number":
                self.carried("keys", x.shape)
                self.assign("keys", 1.0)  # type: ignore[arg-type]  # wrong on purpose
            case "again":
                self.carried("keys", x.shape)
                self.carried("keys", x.shape[:1])
            case "parameter":
                self.parameter("keys", (3,))
                self.carried("keys", (3,))
            case "state":
                self.carried("keys", (3,))
                self.parameter("keys", (3,))
            case "initial":
                self.carried("keys", x.shape, initial=np.zeros(7))
            case "kind":
                self.carried("keys", (), "int64", initial=0.5)
            case "free":
                self.assign("keys", self.carried("keys", x.shape))
            case "input":
                self.assign("keys", self.carried("keys", x.shape, initial=x))
        return x


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ("unknown", GraphError, "'kyes' is neither a state nor a parameter .*\n.*use one of keys"),
        ("nothing", GraphError, "'keys' is neither .*\n.*self.carried"),
        ("shape", ShapeError, r"'keys' is Spec\(\(N, T, 4\).*cannot become"),
        ("number", ShapeError, "cannot become float"),
        ("again", ShapeError, "keys: the state is"),
        ("parameter", GraphError, "keys: a state and a parameter have the same name"),
        ("state", GraphError, "keys: a state and a parameter have the same name"),
        ("initial", ShapeError, "broadcast"),
        ("kind", DtypeError, "keys: a state of int64 cannot begin with 0.5"),
        ("free", ShapeError, r"keys: the state is \(N, T, 4\), but T may differ"),
        ("input", GraphError, "keys: a state cannot begin with what depends on the input"),
    ],
)
def test_states_that_cannot_be(what: str, error: type[Exception], text: str) -> None:
    size: Any = 6 if what == "input" else "T"
    with pytest.raises(error, match=text):
        Odd(what).build(bm.Spec(("N", size, 4))).session()


def test_a_session_says_what_it_cannot_take() -> None:
    model = RunningSum()
    model(X)
    session = model.session()
    with pytest.raises(UsageError, match="carries nothing yet"):
        session.state()
    session.reset()
    session(X)
    with pytest.raises(ShapeError, match="the session has a batch size of 3, got 2"):
        session(X[:2])
    with pytest.raises(ShapeError, match=r"total: the session carries Spec\(\(N, 6, 4\)"):
        session(X[:, :2])
    with pytest.raises(ShapeError, match="the session has a batch size of 4, got 3"):
        model.session(batch_size=4)(X)
    with pytest.raises(ShapeError, match="expected 1 or more"):
        model.session(batch_size=0)
    for indices in ([0, 1], [0, 1, 3], [0, -1, 1], [0.0, 1.0, 2.0]):
        with pytest.raises(DataError, match="indices are|out of range"):
            session.reorder(indices)
    with pytest.raises(DataError, match="the index 3 is out of range for a batch of 3"):
        session.copy([3])
    with pytest.raises(ShapeError, match="1 fixed inputs, but the model takes 1"):
        model.session(fixed=[X])
    assert (session.state()["total"] == X).all()
    plain = bm.layers.Dense(3)
    with pytest.raises(GraphError, match="not built"):
        plain.session()
    plain(X)
    with pytest.raises(GraphError, match="nothing in the model carries state"):
        plain.session()


def test_a_call_that_fails_on_its_way_is_not_gone_on_from() -> None:
    @dataclass(frozen=True)
    class Words(bm.Layer):
        def __call__(self, words: Any) -> Any:
            return RunningSum()(bm.layers.Embedding(5, 2)(words))

    model = Words()
    model(np.array([1, 2]))
    session = model.session()
    session(np.array([1, 2]))
    kept = session.state()
    with pytest.raises(DataError, match="out of range"):
        session(np.array([1, 9]))
    for torn in (session, session.copy()):
        with pytest.raises(UsageError, match="half new"):
            torn(np.array([1, 2]))
    session.load_state(kept)
    session(np.array([1, 2]))


def test_models_for_other_sizes_are_few() -> None:
    model = bm.layers.GRU(2, carry=True)
    x = np.zeros((1, 40, 4), "float32")
    model(x)
    session = model.session()
    for steps in (*range(1, 25), 3, 40):
        assert session(x[:, :steps]).shape == (1, steps, 2)
    assert len(session._others) <= 16 and len(model.network._resized) <= 16


def test_inputs_of_another_width_are_told_what_the_model_was_built_for() -> None:
    model = bm.Sequential(bm.layers.LSTM(3, carry=True))
    model(X)
    with pytest.raises(ShapeError, match=r"built for \(N, 6, 4\) and cannot take \(N, 1, 5\)") as caught:
        model.session()(np.zeros((3, 1, 5), "float32"))
    assert caught.value.fix == "give each step as many features as the model was built for."
    assert (caught.value.where or "").startswith("lstm_1/")
