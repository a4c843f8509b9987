"""Single faults that could be made in the engine, each with the test that has to find it."""

from __future__ import annotations

import functools
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.kernels.cpu.engine.target import vector_unit

PADDED = "tests/kernels/test_guard_pages.py"
GUARD_PAGES = f"{PADDED}::test_kernels_read_and_write_where_they_may"


@dataclass(frozen=True)
class Mutant:
    """A fault and the test that fails with it.

    Args:
        test: the pytest name of that test.
        apply: makes the fault, in this process.
    """

    test: str
    apply: Callable[[], None]


def found(name: str) -> Any:
    """What "bigmodel_core.<module>:<attribute>" names, behind `functools.cache` and staticmethods."""
    module, _, path = name.partition(":")
    made = functools.reduce(getattr, path.split("."), importlib.import_module(f"bigmodel_core.{module}"))
    return getattr(made, "__wrapped__", made)


def edited(name: str, old: str, new: str) -> Callable[[], None]:
    """A function whose source says something else, wherever it is referred to."""

    def apply() -> None:
        function = found(name)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(old) == 1, f"{name} has {source.count(old)} times {old!r}: change its mutant, too"
        scope: dict[str, Any] = {}
        flags = function.__code__.co_flags & __import__("__future__").annotations.compiler_flag
        exec(compile(source.replace(old, new), "<mutant>", "exec", flags), function.__globals__, scope)
        function.__code__ = getattr(
            scope[function.__name__], "__wrapped__", scope[function.__name__]
        ).__code__

    return apply


def constant(name: str, value: Any, *importers: str) -> Callable[[], None]:
    """A number of a module (and of those that import it) with another value."""

    def apply() -> None:
        module, _, attribute = name.partition(":")
        for place in (module, *importers):
            assert hasattr(importlib.import_module(f"bigmodel_core.{place}"), attribute)
            setattr(importlib.import_module(f"bigmodel_core.{place}"), attribute, value)

    return apply


# Reading past the end -------------------------------------------------------------------------------------

OVER_READS = {
    ("linear", "MatMul", 0): "products, left transposed",
    ("linear", "MatMul", 1): "products",
    ("linear", "Affine", 1): "affine",
    ("linear", "Affine", 2): "affine",
    ("convolution", "Conv2d", 0): "depthwise convolution",
    ("convolution", "Conv2d", 1): "convolution by a product",
    ("convolution", "Conv2d", 2): "convolution by a product",
    ("convolution", "ConvTranspose2d", 0): "depthwise convolution",
    ("convolution", "ConvTranspose2d", 1): "convolution by a product",
    ("convolution", "ConvTranspose2d", 2): "transposed convolution by a product",
    ("convolution", "Conv2dWeightGrad", 0): "convolution by a product",
    ("convolution", "Conv2dWeightGrad", 1): "convolution in place",
    ("convolution", "Conv3d", 0): "depthwise convolution of volumes",
    ("convolution", "Conv3d", 1): "convolution of volumes by a product",
    ("convolution", "Conv3d", 2): "convolution of volumes by a product",
    ("convolution", "ConvTranspose3d", 0): "depthwise convolution of volumes",
    ("convolution", "ConvTranspose3d", 1): "convolution of volumes by a product",
    ("convolution", "ConvTranspose3d", 2): "transposed convolution of volumes by a product",
    ("convolution", "Conv3dWeightGrad", 0): "convolution of volumes by a product",
    ("convolution", "Conv3dWeightGrad", 1): "convolution of volumes in place",
    ("recurrent", "Recurrent", 1): "recurrent gru",
    ("recurrent", "Recurrent", 3): "recurrent gru of one row",
    ("recurrent", "Recurrent", 4): "recurrent gru of one row",
    ("recurrent", "RecurrentGrad", 0): "recurrent tanh",
    ("attention", "Attention", 0): "attention",
    ("attention", "Attention", 2): "attention",
    ("attention", "AttentionGrad", 0): "attention",
    ("attention", "AttentionGrad", 3): "attention",
    ("attention", "AttentionGrad", 4): "attention",
    ("attention", "AttentionGrad", 5): "attention",
    ("vocabulary", "VocabularyLoss", 1): "vocabulary",
    ("vocabulary", "VocabularyLoss", 2): "vocabulary",
}
"""For each op, by module and name, and each input that its kernel reads past the end, the case that dies."""


def not_declared(module: str, op: str, position: int) -> Callable[[], None]:
    """An op whose kernel does not say that it reads an input past its end."""

    def apply() -> None:
        kind = found(f"ops.{module}:{op}")
        said = kind.cpu.reads_past

        def fewer(op: Any, *specs: Any) -> tuple[int, ...]:
            return tuple(number for number in said(op, *specs) if number != position)

        kind.cpu = replace(kind.cpu, reads_past=fewer)

    return apply


def over_reads() -> Iterator[tuple[str, Mutant]]:
    for (module, op, position), case in OVER_READS.items():
        test = f"{GUARD_PAGES}[{case}-float32]"
        yield (
            f"{op} does not say that it over-reads input {position}",
            Mutant(test, not_declared(module, op, position)),
        )


def one_vector_of_padding() -> None:
    """Panels of two vectors are copied from as much as a number before the end on."""
    constant("kernels.cpu.engine.launch:PADDING", vector_unit().bits // 8)()


# Checks and guards ----------------------------------------------------------------------------------------

LABEL = "report(status, LABEL_OUT_OF_RANGE"
STEP = "train.step_programs:StepPrograms._whole"
NONFINITE = "tests/train/test_nonfinite.py"
HALVES = "tests/train/test_halves.py"
GATE = "tests/core/test_gate.py"

MUTANTS: dict[str, Mutant] = {
    **dict(over_reads()),
    "a chain overwrites what a product reads": Mutant(
        "tests/core/test_chains_in_place.py::"
        "test_what_a_product_reads_is_not_overwritten_by_what_runs_on_its_tiles",
        edited("plan.in_place:_take_operands", "found.steps[n].fused and ", ""),
    ),
    "kernels may read less behind buffers than they do": Mutant(
        f"{GUARD_PAGES}[large product-float32]", one_vector_of_padding
    ),
    "temporaries lie close together": Mutant(
        f"{PADDED}::test_temporaries_have_padding", constant("plan.cpu_program:PADDING", 0)
    ),
    "inputs lie close together": Mutant(
        f"{PADDED}::test_inputs_have_padding", constant("plan.cpu_plan:PADDING", 0)
    ),
    "variables end with their memory": Mutant(
        f"{PADDED}::test_variables_have_padding[67]", constant("plan.cpu:PADDING", 0)
    ),
    "no label of cross-entropy is checked": Mutant(
        "tests/ops/test_errors.py::test_labels_out_of_range[3-4-cross_entropy]",
        edited(
            "kernels.cpu.softmax:cross_entropy_rows", "report(status, LABEL_OUT_OF_RANGE", "report(status, 0"
        ),
    ),
    "no label of the hinge is checked": Mutant(
        "tests/ops/test_errors.py::test_labels_out_of_range[3-4-hinge]",
        edited("kernels.cpu.losses:hinge_rows", LABEL, "report(status, 0"),
    ),
    "no label that becomes a number is checked": Mutant(
        "tests/ops/test_errors.py::test_labels_as_numbers_are_checked",
        edited(
            "kernels.cpu.losses:label_number_items", "report(status, LABEL_OUT_OF_RANGE", "report(status, 0"
        ),
    ),
    "no label of a sequence is checked": Mutant(
        "tests/ops/test_ctc.py::test_wrong_labels_and_lengths[label below]",
        edited("kernels.alignments:first_wrong", "labels[j] < 0 or ", ""),
    ),
    "a label of a sequence may be the blank": Mutant(
        "tests/ops/test_ctc.py::test_wrong_labels_and_lengths[blank]",
        edited("kernels.alignments:first_wrong", " or labels[j] == blank", ""),
    ),
    "groups of nodes may wait for themselves": Mutant(
        "tests/core/test_plan.py::test_groups_of_older_and_later_nodes_never_wait_for_themselves",
        edited("plan.grouping:_wait_for_themselves", "done < len(groups)", "False"),
    ),
    "kernels in a loop do not say what they over-read": Mutant(
        f"{GUARD_PAGES}[loop-float32]",
        edited("plan.cpu_plan:_read_past", "program.bodies.get(node.index)", "None"),
    ),
    "what a step hands on has the memory of something else": Mutant(
        "tests/ops/test_scan.py::test_what_a_step_hands_on_has_memory_of_its_own",
        edited("plan.results:made_apart", " or root in seen", ""),
    ),
    "a loop goes on where a run that failed has ended": Mutant(
        "tests/ops/test_scan.py::test_a_failure_names_the_op_of_the_body_and_the_next_run_begins_anew",
        edited("kernels.cpu.scan:begin_loop", "store_int(ctx, STEP, 0)", "pass"),
    ),
    "a loop draws the same numbers at each step": Mutant(
        "tests/ops/test_scan.py::test_random_numbers_differ_from_step_to_step_and_are_repeated_exactly",
        edited("ops.scan_body:StepGraph._at_this_step", "(value, self.position)", "(value, value)"),
    ),
    "values of a body may be used behind the loop": Mutant(
        "tests/ops/test_scan.py::test_values_do_not_leave_a_body",
        edited("ops.scan_body:traced", "graph.is_closed = True", "pass"),
    ),
    "no index is checked": Mutant(
        "tests/ops/test_errors.py::test_indices_out_of_range[2]",
        edited("kernels.cpu.indexing:gather_rows", "report(status, INDEX_OUT_OF_RANGE", "report(status, 0"),
    ),
    "no length is checked": Mutant(
        "tests/ops/test_recurrent.py::test_a_length_out_of_range_is_named[5]",
        constant("kernels.cpu.recurrent.forward:LENGTH_OUT_OF_RANGE", 0),
    ),
    "numbers that are not finite are not reported": Mutant(
        f"{GATE}::test_one_number_in_many_is_seen[65536-nan0-float32]",
        constant("kernels.cpu.gate:NOT_FINITE", 0),
    ),
    "what is not proven is not reported": Mutant(
        f"{GATE}::test_products_are_let_through_where_they_are_finite[50-overflowing]",
        constant("kernels.cpu.gate:UNPROVEN", 0),
    ),
    "what was written is not reported": Mutant(
        f"{NONFINITE}::test_parameters_that_grow_until_they_overflow_are_never_silent",
        constant("kernels.cpu.elementwise:WRITTEN_NOT_FINITE", 0),
    ),
    "a kernel that raised is not reported": Mutant(
        "tests/core/test_failures.py::test_a_kernel_that_raises_stops_the_run",
        constant("kernels.cpu.engine.runner:KERNEL_RAISED", 0),
    ),
    "the loss is not guarded": Mutant(
        f"{NONFINITE}::test_a_loss_that_is_not_finite_changes_nothing_though_its_gradients_are",
        edited(STEP, "guards = [half.loss, ", "guards = ["),
    ),
    "the rate is not guarded": Mutant(
        f"{NONFINITE}::test_a_learning_rate_that_no_parameter_can_follow[inf]",
        edited("train.step_programs:StepPrograms._updates", "[*updates.rates.values(), ", "["),
    ),
    "gradients are not guarded": Mutant(
        f"{NONFINITE}::test_the_layer_is_named_whose_gradient_is_not_finite_and_where_it_began[looked at]",
        edited("train.step_programs:StepPrograms._updates", ", *self.optimizer.guards(found)]", "]"),
    ),
    "moments are not guarded": Mutant(
        f"{NONFINITE}::test_a_moment_that_overflows_is_not_written",
        edited(STEP, ", *half.assigned.values()]", "]"),
    ),
    "the norm of clipping is not guarded": Mutant(
        f"{NONFINITE}::test_a_long_recurrence_whose_gradient_overflows_under_clipping",
        edited("nn.optimizer:Optimizer.guards", "[self._squares(gradients)[1]]", "[]"),
    ),
    "an exact program looks at no new value": Mutant(
        f"{NONFINITE}::test_a_step_too_far_is_undone_before_it_is_done",
        edited("plan.program:Program.__init__", "if is_exact:", "if False:"),
    ),
    "the bound of a product leaves out its terms": Mutant(
        f"{GATE}::test_the_bound_of_a_product_counts_what_is_added_up",
        edited("plan.guard:_proof", "return operands, factor", "return operands, 1"),
    ),
    "any bound that is finite proves a product": Mutant(
        f"{GATE}::test_products_are_let_through_where_they_are_finite[50-overflowing]",
        edited("ops.gate:Gate.limit", "inf if self.exact else DTYPES[dtype].modest", "inf"),
    ),
    "variables do not wait for the gate": Mutant(
        f"{GATE}::test_an_update_that_follows_its_gradient_waits_for_the_gate",
        edited("plan.schedule:_close", "return [gate]", "return []"),
    ),
    "a product that a bound stands for runs before the gate": Mutant(
        f"{NONFINITE}::test_large_dense_gradients_stay_tiles_of_their_product",
        edited("plan.guard:waiting_for", "yield root.node", "yield from ()"),
    ),
    "what is written is not looked at": Mutant(
        f"{NONFINITE}::test_parameters_that_grow_until_they_overflow_are_never_silent",
        edited(
            "plan.schedule:_check_what_is_written",
            "looking_at(position)",
            "looking_at(position) and step.fused",
        ),
    ),
    "a sum of gradients is not guarded": Mutant(
        f"{HALVES}::test_a_sum_of_gradients_that_overflows_is_not_kept",
        edited("train.step_programs:StepPrograms._adding", "*sums.values(), ", ""),
    ),
    "frozen statistics are written": Mutant(
        "tests/train/test_freezing.py::test_frozen_statistics_alone_stay",
        edited("train.step_programs:StepPrograms._differentiated", "if path not in kept}", "}"),
    ),
    "a batch that is not finite is not named": Mutant(
        f"{NONFINITE}::test_a_batch_that_is_not_finite_is_named",
        edited("train.nonfinite:located", 'name.startswith("~rate") or', "name or"),
    ),
    "a variable that is not finite is not named": Mutant(
        f"{NONFINITE}::test_a_variable_that_is_not_finite_is_named",
        edited("train.nonfinite:located", "for path in variables:", "for path in ():"),
    ),
    "a timed run does not turn back in loops": Mutant(
        "tests/train/test_profile.py::test_loops_run_through_all_of_their_steps",
        edited(
            "kernels.cpu.engine.table:Table.run_timed",
            "branches[row].value if row in branches else 1",
            "1",
        ),
    ),
}
