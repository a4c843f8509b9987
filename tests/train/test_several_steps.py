"""Several steps over one set of parameters: a critic and a generator that alternate on the same arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import CheckpointError, GraphError, UnknownNameError, UsageError

from .conftest import assert_same_bits, copy_dense

L, O = bm.layers, bm.optimizers


@dataclass(frozen=True)
class Gan(bm.Layer):
    """A generator and a critic as one model: what is generated, and its score."""

    generator: bm.Layer = field(default_factory=lambda: bm.Sequential(L.Dense(8), L.Relu(), L.Dense(4)))
    critic: bm.Layer = field(default_factory=lambda: bm.Sequential(L.Dense(8), L.Relu(), L.Dense(1)))

    def __call__(self, noise: Any) -> Any:
        fake = self.generator(noise)
        return fake, self.critic(fake)

    def critic_loss(self, outputs: Any, real: Any) -> Any:
        return ops.mean(outputs[1]) - ops.mean(self.critic(real))

    def generator_loss(self, outputs: Any, real: Any) -> Any:
        return -ops.mean(outputs[1])


def steps_of(gan: Gan) -> tuple[Any, Any]:
    critic = bm.compile(gan, gan.critic_loss, O.RMSprop(0.01), only="critic/*")
    generator = bm.compile(gan, gan.generator_loss, O.Adam(0.01), only="generator/*")
    return critic, generator


def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(number)
    return draw.normal(size=(16, 3)).astype("float32"), draw.normal(2, 1, (16, 4)).astype("float32")


def alternate(critic: Any, generator: Any, numbers: range) -> list[tuple[float, float]]:
    return [(critic(*batch(number)), generator(*batch(number))) for number in numbers]


def test_a_critic_and_a_generator_train_as_in_pytorch(torch: Any) -> None:
    gan = Gan()
    state = gan.build(bm.Spec(("N", 3)), seed=1).state()
    theirs = {
        name: torch.nn.Sequential(torch.nn.Linear(size, 8), torch.nn.ReLU(), torch.nn.Linear(8, out))
        for name, size, out in (("generator", 3, 4), ("critic", 4, 1))
    }
    for name, net in theirs.items():
        copy_dense(state, {f"{name}/dense_1": net[0], f"{name}/dense_2": net[2]})
    optimizers = (
        torch.optim.RMSprop(theirs["critic"].parameters(), 0.01),
        torch.optim.Adam(theirs["generator"].parameters(), 0.01),
    )
    critic, generator = steps_of(gan)
    for number in range(5):
        noise, real = (torch.tensor(array) for array in batch(number))
        fake = theirs["generator"](noise)
        loss = theirs["critic"](fake).mean() - theirs["critic"](real).mean()
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        assert critic(*batch(number)) == pytest.approx(loss.item(), abs=1e-5)
        loss = -theirs["critic"](theirs["generator"](noise)).mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        assert generator(*batch(number)) == pytest.approx(loss.item(), abs=1e-5)
    for name, net in theirs.items():
        for layer, path in ((net[0], "dense_1"), (net[2], "dense_2")):
            found = gan.state()[f"{name}/{path}/weight"]
            np.testing.assert_allclose(found, layer.weight.detach().T, atol=1e-5)


def test_each_step_changes_and_keeps_state_of_its_own_parameters_only() -> None:
    gan = Gan()
    critic, generator = steps_of(gan)
    for step, own in ((critic, "critic"), (generator, "generator")):
        step.build([bm.Spec(("N", 3))], bm.Spec(("N", 4)))
        before = gan.state()
        step(*batch(0))
        changed = {path for path, array in gan.state().items() if np.any(array != before[path])}
        assert changed and all(path.startswith(f"{own}/") for path in changed)
        kept = [path for path in step.state() if path.startswith("optimizer/")]
        assert kept and all(f"/{own}/" in path for path in kept)


def test_statistics_of_the_others_stay_while_they_compute_as_in_training() -> None:
    gan = Gan(generator=bm.Sequential(L.Dense(4), L.BatchNorm()))
    critic, generator = steps_of(gan)
    critic(*batch(0))
    path = "generator/batch_norm_1/running_mean"
    assert not gan.state()[path].any()
    generator(*batch(0))
    assert gan.state()[path].any()


def test_the_generator_alone_is_the_one_that_was_trained(tmp_path: Path) -> None:
    gan = Gan()
    alternate(*steps_of(gan), range(3))
    noise, _ = batch(9)
    images = gan.generator(noise)
    np.testing.assert_array_equal(images, gan(noise)[0])
    bm.export(gan.generator, tmp_path / "generator.onnx")  # verified in ONNX Runtime
    np.testing.assert_allclose(bm.from_onnx(tmp_path / "generator.onnx")(noise), images, atol=1e-5)


def test_both_are_resumed_exactly_from_one_file(tmp_path: Path) -> None:
    file, gan = tmp_path / "gan.safetensors", Gan()
    critic, generator = steps_of(gan)
    alternate(critic, generator, range(3))
    critic.rate_scale = 0.5
    bm.save_steps(file, critic=critic, generator=generator)
    expected = alternate(critic, generator, range(3, 6))
    again = Gan()
    steps = steps_of(again)
    for step in steps:
        step.build([bm.Spec(("N", 3))], bm.Spec(("N", 4)))
    bm.load_steps(file, critic=steps[0], generator=steps[1])
    assert (steps[0].steps, steps[1].draws) == (3, 3)
    assert alternate(*steps, range(3, 6)) == expected
    assert_same_bits(gan.state(), again.state())
    noise, _ = batch(0)
    assert bm.load(file)(noise)[0].shape == (16, 4)


def test_wrong_steps_and_files(tmp_path: Path) -> None:
    file, gan = tmp_path / "gan.safetensors", Gan()
    critic, generator = steps_of(gan)
    with pytest.raises(GraphError, match="not built"):
        bm.save_steps(file, critic=critic)
    alternate(critic, generator, range(1))
    other, _ = steps_of(Gan())
    other(*batch(0))
    with pytest.raises(UsageError, match="not of one model"):
        bm.save_steps(file, critic=critic, other=other)
    bm.save_steps(file, critic=critic, generator=generator)
    before = gan.state()
    with pytest.raises(CheckpointError, match="holds critic, generator, not critic"):
        bm.load_steps(file, critic=critic)
    with pytest.raises(CheckpointError, match="the step 'critic' does not fit"):
        bm.load_steps(file, critic=generator, generator=critic)
    bm.save(gan, file)
    with pytest.raises(CheckpointError, match="holds no steps"):
        bm.load_steps(file, critic=critic)
    assert all(np.array_equal(gan.state()[path], array) for path, array in before.items())


def test_wrong_losses_and_patterns() -> None:
    gan = Gan()
    with pytest.raises(UnknownNameError, match=r"only: no parameter matches 'critc/\*'"):
        bm.compile(gan, gan.critic_loss, "sgd", only="critc/*")(*batch(0))
    with pytest.raises(GraphError, match="a Gan that is no part of the model"):
        bm.compile(gan, Gan().critic_loss, "sgd")(*batch(0))
    stray = L.Dense(1)
    with pytest.raises(GraphError, match="which the model has not"):
        bm.compile(gan, lambda outputs, real: ops.mean(stray(outputs[0])), "sgd")(*batch(0))


def test_a_function_is_a_loss_in_the_trainer_too() -> None:
    def error(prediction: Any, target: Any) -> Any:
        return ops.sum((prediction - target) ** 2, axis=1)

    (x, y), histories = batch(1), []
    for loss in (error, "mean_squared_error"):
        model = L.Dense(4)
        model.build(bm.Spec(("N", 3)), seed=2)
        histories.append(bm.Trainer(model, loss, O.SGD(0.0)).fit((x, y), verbose=False).last["loss"])
    assert histories[0] == pytest.approx(4 * histories[1], rel=1e-6)
