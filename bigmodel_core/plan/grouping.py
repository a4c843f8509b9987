"""Which nodes become one step: elementwise ones over one iteration space, chained or side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bigmodel_core.graph import Node
from bigmodel_core.kernels.fused import Elementwise

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program

MAX_PARTS = 48
"""Chains are cut at this length: longer ones only spill registers and compile slowly."""


def fuse(nodes: Sequence[Node], program: Program) -> list[list[Node]]:
    """Group nodes into those that become one kernel each, in an order of their first nodes.

    A group holds elementwise nodes of one output shape; it never needs something that is computed from it
    outside. Whether it does is looked up among the latest groups first, which is nearly always enough.
    """
    sources = {node.index: [program.root(value).node.index for value in node.inputs] for node in nodes}
    groups = _groups(nodes, program, sources, is_exact=False)
    if _wait_for_themselves(groups, sources):
        groups = _groups(nodes, program, sources, is_exact=True)
    return groups


def _groups(
    nodes: Sequence[Node], program: Program, sources: Mapping[int, Sequence[int]], is_exact: bool
) -> list[list[Node]]:
    kernel_of = program.device.kernel_of
    group_of: dict[int, int] = {}
    groups: dict[int, list[Node]] = {}
    for node in nodes:
        kernel = kernel_of(node)
        group_of[node.index] = node.index
        groups[node.index] = [node]
        if not isinstance(kernel, Elementwise):
            continue
        for value in node.inputs:
            if value.node.index not in group_of:
                continue
            other, mine = group_of[value.node.index], group_of[node.index]
            if other == mine or not isinstance(kernel_of(value.node), Elementwise):
                continue
            if (id(value) in program.unchanging) != (id(node.outputs[0]) in program.unchanging):
                continue
            if value.shape != node.outputs[0].shape or len(groups[other]) + len(groups[mine]) > MAX_PARTS:
                continue
            if not _joinable(groups[other], groups[mine], groups, group_of, sources, is_exact):
                continue
            merged = sorted(groups[other] + groups[mine], key=lambda item: item.index)
            keep = min(other, mine)
            for number in {other, mine} - {keep}:
                del groups[number]
            groups[keep] = merged
            for member in merged:
                group_of[member.index] = keep
    return list(groups.values())


def _joinable(
    a: list[Node],
    b: list[Node],
    groups: dict[int, list[Node]],
    group_of: dict[int, int],
    sources: Mapping[int, Sequence[int]],
    is_exact: bool,
) -> bool:
    """Whether no way leads from one group to the other through a third: joined, they would wait for
    themselves.

    Args:
        a, b: the groups.
        groups, group_of: all groups, and that of each node.
        sources: the nodes that a node reads the memory of.
        is_exact: whether ways are followed to their ends; else only until all nodes of a group are older than
            the two, which misses ways back through a group that has older and later ones.
    """
    members = {node.index for node in (*a, *b)}
    oldest = min(members)
    stack = [
        source
        for node in (*a, *b)
        for source in sources[node.index]
        if source not in members and source in group_of
    ]
    seen: set[int] = set()
    while stack:
        group = group_of[stack.pop()]
        if group in seen:
            continue
        seen.add(group)
        for node in groups[group]:
            for source in sources[node.index]:
                if source in members:
                    return False
                if source in group_of and (is_exact or groups[group_of[source]][-1].index > oldest):
                    stack.append(source)
    return True


def _wait_for_themselves(groups: list[list[Node]], sources: Mapping[int, Sequence[int]]) -> bool:
    """Whether a group needs what is computed from it, through others."""
    group_of = {node.index: number for number, group in enumerate(groups) for node in group}
    needs = [
        {group_of[source] for node in group for source in sources[node.index] if source in group_of}
        - {number}
        for number, group in enumerate(groups)
    ]
    users: list[list[int]] = [[] for _ in groups]
    for number, needed in enumerate(needs):
        for source in needed:
            users[source].append(number)
    ready = [number for number, needed in enumerate(needs) if not needed]
    waiting, done = [len(needed) for needed in needs], 0
    while ready:
        done += 1
        for user in users[ready.pop()]:
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    return done < len(groups)
