"""Permutations, held-out samples and batches: keyed, complete, the same everywhere."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core.data.loader import Loader
from bigmodel_core.data.sampling import batches, permutation, split_indices
from bigmodel_core.data.split import Split
from bigmodel_core.errors import ConfigError, DataError, ShapeError
from bigmodel_core.train.samples import Samples
from tests.processes import run_code

STEPS = bm.Preprocessing(raw_shape=(1,))

MASK = 2**64 - 1


def philox_words(key: tuple[int, int], count: int) -> list[int]:
    """Words of Philox4x64-10 as published by Salmon et al. (2011), counting blocks from 1."""
    words: list[int] = []
    block = 0
    while len(words) < count:
        block += 1
        c, k = [block, 0, 0, 0], list(key)
        for _ in range(10):
            p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
            c = [(p1 >> 64) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 64) ^ c[3] ^ k[1], p0 & MASK]
            k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
        words += c
    return words[:count]


def toy(n: int) -> Split:
    return Split(np.arange(n * 3, dtype=np.float32).reshape(n, 3), np.arange(n))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 64, 1001])
def test_permutation_is_the_order_of_philox_words(n):
    digest = hashlib.blake2b(b"int:7\x1fstr:shuffle\x1fint:2", digest_size=16).digest()
    key = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))
    words = philox_words(key, n)
    assert permutation(n, 7, "shuffle", 2).tolist() == sorted(range(n), key=words.__getitem__)


@given(st.integers(0, 300), st.integers(), st.integers(0, 10))
def test_permutation_holds_each_number_once(n, seed, epoch):
    assert sorted(permutation(n, seed, epoch).tolist()) == list(range(n))


def test_permutation_is_the_same_in_another_process():
    code = "from bigmodel_core.data.sampling import permutation; print(permutation(50, 3, 'x').tolist())"
    assert run_code(code).stdout.strip() == str(permutation(50, 3, "x").tolist())


def test_permutations_of_small_sets_are_equally_likely():
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(6000):
        order = tuple(permutation(3, seed).tolist())
        counts[order] = counts.get(order, 0) + 1
    # Chi-squared with 5 degrees of freedom: above 25.7 once in 10,000.
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 25.7
    assert len(counts) == 6


@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 5), st.integers(1, 7))
def test_held_out_samples_are_exact_disjoint_and_in_proportion(n, fraction, seed, kinds):
    classes = np.random.default_rng(n).integers(0, kinds, n)
    kept, held_out = split_indices(n, fraction, seed, classes=classes)
    assert sorted([*kept, *held_out]) == list(range(n))
    assert len(held_out) == min(max(round(n * fraction), 1), n - 1)
    for label in range(kinds):
        share = len(held_out) / n * (classes == label).sum()
        assert abs((classes[held_out] == label).sum() - share) <= 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ConfigError, match="fraction"):
        split_indices(10, fraction, 0)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_samples_to_part_are_refused(n):
    with pytest.raises(DataError):
        split_indices(n, 0.5, 0)


def test_classes_of_another_length_are_refused():
    with pytest.raises(ShapeError):
        split_indices(4, 0.5, 0, classes=np.zeros(3, int))


@given(st.integers(1, 100), st.integers(1, 120), st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 3))
def test_an_epoch_gives_each_sample_once(n, batch_size, seed, epoch):
    parts = list(batches(toy(n), batch_size, shuffle_seed=seed, epoch=epoch))
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert [len(part) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)
    assert len(Loader(toy(n), batch_size)) == len(parts)


def test_without_a_seed_the_order_is_kept():
    assert np.concatenate(list(batches(toy(10), 4))).tolist() == list(range(10))


def test_each_epoch_has_its_own_order():
    first, again, second = (
        np.concatenate(list(batches(toy(50), 8, shuffle_seed=1, epoch=e))) for e in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_drop_last_leaves_out_the_ragged_batch():
    assert [len(part) for part in batches(toy(10), 4, drop_last=True)] == [4, 4]


def test_a_resumed_epoch_goes_on_with_the_same_batches():
    whole = list(batches(toy(50), 8, shuffle_seed=5, epoch=3))
    rest = list(batches(toy(50), 8, shuffle_seed=5, epoch=3, start=4))
    assert len(rest) == 3
    assert all(np.array_equal(a, b) for a, b in zip(whole[4:], rest, strict=True))


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, "8", None])
@pytest.mark.parametrize("make", [batches, Loader])
def test_a_batch_size_without_sense_is_refused_at_once(make, batch_size):
    with pytest.raises(ConfigError, match="batch size"):
        make(toy(10), batch_size)


@pytest.mark.parametrize("make", [batches, Loader])
def test_an_empty_split_is_refused_at_once(make):
    with pytest.raises(DataError, match="no sample"):
        make(toy(0), 4)


def test_dropping_the_only_batch_is_refused():
    with pytest.raises(DataError, match="do not fill a batch"):
        batches(toy(3), 4, drop_last=True)


def test_loader_gives_the_samples_of_the_batches():
    split = toy(10)
    loader = Loader(split, 4, shuffle_seed=2)
    for (x, y), indices in zip(loader.epoch(1), batches(split, 4, shuffle_seed=2, epoch=1), strict=True):
        assert np.array_equal(x, split.x[indices])
        assert np.array_equal(y, split.y[indices])


def test_loader_writes_to_the_buffers_of_the_caller():
    split = toy(10)
    buffers = np.empty((4, 3), np.float32), np.empty(4, np.int64)
    seen = []
    for x, y in Loader(split, 4, shuffle_seed=2).epoch(1, out=buffers):
        assert np.shares_memory(x, buffers[0])
        assert np.shares_memory(y, buffers[1])
        assert len(x) == len(y)
        seen.append(x.copy())
    fresh = [x for x, _ in Loader(split, 4, shuffle_seed=2).epoch(1)]
    assert np.array_equal(np.concatenate(seen), np.concatenate(fresh))


@pytest.mark.parametrize("kind", [dict, tuple])
@pytest.mark.parametrize("augment", [(), "random-shift"], ids=["plain", "augmented"])
def test_loader_gives_several_targets_and_weights_as_the_split_has_them(kind, augment):
    x, arrays = np.zeros((10, 1, 4, 4), np.float32), (np.arange(10), np.arange(20.0).reshape(10, 2))
    rows = np.empty((4, 1, 4, 4), np.float32), (np.empty(4, np.int64), np.empty((4, 2)))
    names = ("a", "b") if kind is dict else (0, 1)
    y, out_y = (dict(zip("ab", two, strict=True)) if kind is dict else two for two in (arrays, rows[1]))
    split, buffers = Split(x, y, weight={"a": arrays[0] * 2.0}), (rows[0], out_y)
    loader = Loader(split, 4, shuffle_seed=2, augment=augment)
    for out in (None, buffers):
        order = batches(split, 4, shuffle_seed=2, epoch=1)
        for (_, target, weight), indices in zip(loader.epoch(1, out=out), order, strict=True):
            assert type(target) is kind
            for name, array in zip(names, arrays, strict=True):
                assert np.array_equal(target[name], array[indices])
                assert out is None or np.shares_memory(target[name], out_y[name])
            assert np.array_equal(weight["a"], arrays[0][indices] * 2.0)
    with pytest.raises(ShapeError, match=f"the buffer for y '{names[0]}' is None"):
        loader.epoch(out=(rows[0], None))


def test_fresh_batches_are_not_views_of_the_data():
    split = toy(8)
    for x, _ in Loader(split, 4):
        assert not np.shares_memory(x, split.x)


def test_loader_without_targets_gives_none():
    assert [y for _, y in Loader(Split(np.zeros((3, 1))), 2)] == [None, None]


@pytest.mark.parametrize(
    "buffers",
    [
        (np.empty((3, 3), np.float32), np.empty(4, np.int64)),
        (np.empty((4, 3), np.float64), np.empty(4, np.int64)),
        (np.empty((4, 3), np.float32), np.empty((4, 1), np.int64)),
        (np.empty((4, 3), np.float32), None),
    ],
)
def test_buffers_that_do_not_fit_are_refused_at_once(buffers):
    with pytest.raises(ShapeError, match="buffer"):
        Loader(toy(10), 4).epoch(out=buffers)


# Blocks ---------------------------------------------------------------------------------------------------


class InBlocks(bm.Source):
    """Samples 0 to n - 1 that are read in blocks, of which some are at hand."""

    def __init__(self, numbers: np.ndarray, held: int = 1) -> None:
        self.numbers, self.held = numbers, held
        self.shape, self.dtype = (len(numbers), 1), np.dtype(np.float32)

    def blocks(self):
        return self.numbers, self.held

    def read(self, indices, out):
        out[:, 0] = indices


def order_of(split: Split, seed: int = 3, epoch: int = 0, **options: int) -> np.ndarray:
    return np.concatenate(list(batches(split, 5, shuffle_seed=seed, epoch=epoch, **options)))


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_no_more_blocks_are_in_use_than_are_at_hand(sizes, gap, held, epoch):
    numbers = np.repeat(np.arange(len(sizes)) * gap, sizes)
    if not len(numbers):
        return
    order = order_of(Split(InBlocks(numbers, held)), epoch=epoch)
    assert sorted(order.tolist()) == list(range(len(numbers)))
    places = {number: np.flatnonzero(numbers[order] == number) for number in np.unique(numbers)}
    spans = [(place[0], place[-1]) for place in places.values()]
    assert max(sum(first <= at <= last for first, last in spans) for at in range(len(order))) <= held


def test_samples_are_mixed_as_far_as_blocks_are_at_hand():
    """The correlation of rows that follow each other, which a full shuffle brings to none."""
    numbers = np.repeat(np.arange(64), 100)
    blocks = [numbers[order_of(Split(InBlocks(numbers, held)))] for held in (1, 8)]
    assert (blocks[0][1:] == blocks[0][:-1]).mean() > 0.98
    assert 1 / 16 < (blocks[1][1:] == blocks[1][:-1]).mean() < 1 / 5
    # All along the epoch, from its first batches to its last.
    assert min(len(set(part)) for part in blocks[1].reshape(64, 100)) >= 6


def test_blocks_take_turns_anew_in_each_epoch_and_every_order_is_likely():
    numbers = np.repeat(np.arange(3), 2)
    counts = dict.fromkeys(itertools.permutations(range(3)), 0)
    for epoch in range(1200):
        counts[tuple(numbers[order_of(Split(InBlocks(numbers)), epoch=epoch)][::2].tolist())] += 1
    # Chi-squared with 5 degrees of freedom: above 25.7 once in 10,000.
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 25.7


@pytest.mark.parametrize("held", [4, 5, 100])
def test_blocks_that_are_all_at_hand_and_none_give_the_order_of_an_array(held):
    numbers = np.arange(40) // 10
    wanted = order_of(toy(40))
    assert np.array_equal(order_of(Split(InBlocks(numbers, held))), wanted)
    assert not np.array_equal(order_of(Split(InBlocks(numbers, 3))), wanted)
    unknown = InBlocks(numbers, held)
    unknown.blocks = lambda: None
    assert np.array_equal(order_of(Split(unknown)), wanted)


def test_a_resumed_epoch_of_blocks_goes_on_with_the_same_batches():
    split = Split(InBlocks(np.arange(200) // 10, 3))
    assert np.array_equal(order_of(split, start=7), order_of(split)[35:])


def test_samples_that_were_taken_converted_or_held_out_keep_their_blocks():
    source = InBlocks(np.arange(100) // 10, 2)
    chosen = np.arange(99, -1, -3)
    numbers, held = source.take(chosen).astype("float64").take(np.arange(5, 20)).blocks()
    assert held == 2 and np.array_equal(numbers, source.numbers[chosen][5:20])
    encoded = Split(source, np.arange(100) % 2, encoding=bm.Encoding(preprocessing=STEPS))
    changed = encoded.like(bm.Encoding(preprocessing=replace(STEPS, mean=(1.0,)))).x
    assert changed.blocks()[0] is source.numbers and changed[4].tolist() == [3.0]


def test_targets_that_are_read_say_the_blocks_if_samples_do_not():
    numbers = np.arange(40) // 10
    alone, target = order_of(Split(InBlocks(numbers))), Split(np.zeros((40, 1)), InBlocks(numbers))
    assert np.array_equal(order_of(target), alone)
    samples = Samples((np.zeros((40, 1)),), InBlocks(numbers))
    found = np.concatenate([y[:, 0] for _, y, _ in samples.shuffled(5, 3, 0)])
    assert np.array_equal(found, alone)


def test_training_draws_a_batch_after_the_other_from_few_blocks():
    class Counted(InBlocks):
        reads: list[set[int]] = []

        def read(self, indices, out):
            self.reads.append(set(self.numbers[indices].tolist()))
            super().read(indices, out)

    source = Counted(np.arange(120) // 10)
    samples = Samples((source,), np.arange(120))
    assert sum(1 for _ in samples.shuffled(10, 0, 0, workers=2)) == 12
    assert len(source.reads) == 12 and all(len(blocks) == 1 for blocks in source.reads)


@pytest.mark.parametrize(
    ("numbers", "held"),
    [
        (np.arange(3), 1),
        (np.zeros(4), 1),
        (np.arange(4) - 1, 1),
        (np.arange(4), 0),
        (np.zeros((4, 1), int), 1),
    ],
)
def test_blocks_that_make_no_sense_name_the_source(numbers, held):
    source = InBlocks(np.arange(4), 2)
    source.numbers, source.held = numbers, held
    with pytest.raises(DataError, match="InBlocks: blocks"):
        order_of(Split(source))
