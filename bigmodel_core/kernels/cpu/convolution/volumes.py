"""Convolutions of volumes on the CPU, channels last, as those of images: of their slices.

The slices of x that meet the taps of one slice of the output are laid side by side, as channels of one image,
and a filter's slices likewise: so it is a convolution of images. The transpose of that gives images of slices
side by side, which are added up. A part of the images is done at a time, while it is in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cpu.engine.kernels import ArrayKernel, CpuLaunches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch
from bigmodel_core.kernels.views import require_channels_last

PART = 2 * 1024 * 1024
"""Bytes of slices side by side in a part, unless the filters or one image have more."""
CHUNK_ELEMENTS = 16384
"""Numbers that a chunk copies or adds."""
FEW = 8
"""Channels that do not fill a vector."""


def convolve(call: Call, conv2d: CpuLaunches) -> list[CpuLaunch]:
    """The launches that compute y from x."""
    call.op.infer(*call.inputs)  # a free dimension may turn out too small for the filter
    x, weight, *bias = map(call.input, range(len(call.inputs)))
    s = Slices(call, x.spec, call.outputs[0], weight.spec.sizes[2])
    filters, launches = s.filters(weight)
    for first, count in s.parts(weight.spec.nbytes):
        beside, laid = s.beside(x, first, count)
        y = s.part(call.output(0), first, count)
        launches += [*laid, *s.of_images(conv2d, [beside, filters, *bias], y)]
    return launches


def transposed(call: Call, conv_transpose2d: CpuLaunches) -> list[CpuLaunch]:
    """The launches that compute x from y."""
    y, weight, *bias = map(call.input, range(len(call.inputs)))
    s = Slices(call, call.outputs[0], y.spec, weight.spec.sizes[2])
    filters, launches = s.filters(weight)
    if s.plain:
        volumes = s.images(call.output(0))
        return [*launches, *s.of_images(conv_transpose2d, [s.images(y), filters, *bias], volumes)]
    for first, count in s.parts(weight.spec.nbytes):
        beside = s.memory(count)
        launches += s.of_images(conv_transpose2d, [s.part(y, first, count), filters], beside)
        launches += s.added(beside, bias, call.output(0), first, count)
    return launches


def weight_gradient(call: Call, conv2d_weight_gradient: CpuLaunches) -> list[CpuLaunch]:
    """The launches that compute the gradient of the filters: sums over parts, then of these."""
    x, dy, dw = call.input(0), call.input(1), call.output(0)
    s = Slices(call, x.spec, dy.spec, call.op.taps[0])
    filters, of_group, deep, *taps = dw.spec.sizes
    parts = list(s.parts(max(4 * PART, dw.spec.nbytes)))  # fewer, since each has a sum of its own
    sums = call.temporary((len(parts), filters, deep * of_group, *taps))
    launches: list[CpuLaunch] = []
    for number, (first, count) in enumerate(parts):
        beside, laid = s.beside(x, first, count)
        launches += laid
        made = piece(sums, number, number + 1).reshape(*sums.spec.sizes[1:])
        launches += s.of_images(conv2d_weight_gradient, [beside, s.part(dy, first, count)], made)
    given = sums.reshape(len(parts), filters, deep, of_group, math.prod(taps))
    made = dw.reshape(filters, of_group, deep, math.prod(taps))
    return [*launches, *call.launch(kernel(add_turned), [made], [given])]


@dataclass
class Slices:
    """The slices of volumes x that meet those of y, and launches for a number of the latter.

    Args:
        call: the application; its op says stride, dilation and padding.
        x: volumes (n, depth, height, width, channels).
        y: what the convolution of these gives.
        deep: how many slices a filter has.
    """

    call: Call
    x: Spec
    y: Spec
    deep: int
    _memory: dict[int, list[CpuBuffer]] = field(default_factory=dict)
    """Scratch memory of parts of so many slices, which use it in turns."""
    _made: list[CpuBuffer] = field(default_factory=list)
    _taken: int = 0

    def __post_init__(self) -> None:
        require_channels_last(self.call.op)
        op = self.call.op
        self.op, self.step, self.gap, self.front = op.of_images(), op.stride[0], op.dilation[0], op.border[0]

    @property
    def count(self) -> int:
        """Slices of y."""
        return self.y.sizes[0] * self.y.sizes[1]

    @property
    def plain(self) -> bool:
        """Whether each slice of y meets the same one of x alone."""
        return self.deep == self.step == 1 and self.front == 0 and self.x.sizes[1] == self.y.sizes[1]

    @property
    def image(self) -> tuple[int, int, int]:
        """The size of an image of slices side by side."""
        _, _, height, width, channels = self.x.sizes
        return height, width, self.deep * channels

    def parts(self, least: int) -> Iterator[tuple[int, int]]:
        """Which slices of y, from and how many, are a part; a part may have so many bytes in any case."""
        each = Spec(self.image, self.x.dtype).nbytes
        most = self.count if self.plain else max(1, max(PART, least) // max(each, 1))
        number = -(-self.count // most) if self.count else 0
        for part in range(number):
            first, last = self.count * part // number, self.count * (part + 1) // number
            self._memory.setdefault(last - first, [])
            self._made, self._taken = self._memory[last - first], 0
            yield first, last - first

    def scratch(self, nbytes: int) -> CpuBuffer:
        """Memory that lives as long as a part is done: the next of as many slices asks for the same."""
        if self._taken == len(self._made):
            self._made.append(self.call.scratch(nbytes))
        self._taken += 1
        return self._made[self._taken - 1]

    def images(self, volumes: Operand) -> Operand:
        """Volumes as images of their slices."""
        n, depth, *image = volumes.spec.sizes
        return volumes.reshape(n * depth, *image)

    def part(self, volumes: Operand, first: int, count: int) -> Operand:
        """Some slices of volumes, as images."""
        return piece(self.images(volumes), first, first + count)

    def memory(self, count: int) -> Operand:
        """Memory for a number of images of slices side by side."""
        spec = Spec((count, *self.image), self.x.dtype)
        return Operand(spec, self.scratch(spec.nbytes))

    def filters(self, weight: Operand) -> tuple[Operand, list[CpuLaunch]]:
        """Filters whose slices are channels, and what writes them."""
        filters, of_group, deep, *taps = weight.spec.sizes
        sizes = (filters, deep * of_group, *taps)
        if deep == 1:
            return weight.reshape(*sizes), []
        made, each = self.call.temporary(sizes), math.prod(taps)
        given = weight.reshape(1, filters, of_group, deep, each)
        out = made.reshape(filters, deep, of_group, each)
        launches = self.call.launch(kernel(add_turned), [out], [given])
        return made, [replace(launch, makes=(made.buffer,)) for launch in launches]

    def beside(self, x: Operand, first: int, count: int) -> tuple[Operand, list[CpuLaunch]]:
        """The images of slices side by side under some slices of y, and what writes them."""
        if self.plain:
            return self.images(x), []
        made = self.memory(count)
        n, depth, height, width, channels = self.x.sizes
        out = made.reshape(count * height, width * self.deep * channels)
        given = x.reshape(n * depth * height, width * channels)
        return made, self._launched(lay_beside, out, [given], first)

    def added(
        self, beside: Operand, bias: Sequence[Operand], x: Operand, first: int, count: int
    ) -> list[CpuLaunch]:
        """What adds the images of slices side by side of some slices of y to those of x, which begin with
        the bias."""
        _, _, height, width, channels = self.x.sizes
        origin, end = self._reached(first, first + count)
        out = self.part(x, origin, end - origin).reshape((end - origin) * height, width * channels)
        given = beside.reshape(count * height, width * self.deep * channels)
        begin = bias[0] if bias else beside
        inputs = [given, begin.reshape(math.prod(begin.spec.sizes))]
        more = {"origin": origin, "count": count, "has_bias": bool(bias)}
        return self._launched(add_slices, out, inputs, first, **more)

    def _reached(self, first: int, last: int) -> tuple[int, int]:
        """The slices of x, from and to, that some slices of y meet; those that none meets go with others."""
        (_, depth), (_, slices) = self.x.sizes[:2], self.y.sizes[:2]
        (n, at), (end_n, end) = divmod(first, slices), divmod(last, slices)
        span = (self.deep - 1) * self.gap + 1
        begin = at * self.step - self.front if at else 0
        stop = max((end - 1) * self.step + span, end * self.step) - self.front if end else 0
        return n * depth + min(max(begin, 0), depth), end_n * depth + min(max(stop, 0), depth)

    def _launched(
        self, function: Any, out: Operand, inputs: Sequence[Operand], first: int, **more: int
    ) -> list[CpuLaunch]:
        rows = max(1, CHUNK_ELEMENTS // max(math.prod(out.spec.sizes[1:]), 1))
        return self.call.launch(
            ArrayKernel(function, rows=rows),
            [out],
            inputs,
            first=first,
            slices=self.y.sizes[1],
            depth=self.x.sizes[1],
            height=self.x.sizes[2],
            step=self.step,
            gap=self.gap,
            front=self.front,
            deep=self.deep,
            channels=self.x.sizes[4] // self.call.op.groups,
            **more,
        )

    def of_images(self, images: CpuLaunches, inputs: Sequence[Operand], out: Operand) -> list[CpuLaunch]:
        """The launches of the op's counterpart on images."""
        call = replace(
            self.call,
            op=self.op,
            inputs=tuple(operand.spec for operand in inputs),
            outputs=(out.spec,),
            input_buffers=tuple(operand.buffer for operand in inputs),
            output_buffers=(out.buffer,),
            scratch=self.scratch,
        )
        return list(images.launches(call))


def piece(whole: Operand, first: int, last: int) -> Operand:
    """What the first axis counts, from and to, of an array."""
    _, *sizes = whole.spec.sizes
    each = Spec(tuple(sizes), whole.spec.dtype).nbytes
    spec = Spec((last - first, *sizes), whole.spec.dtype)
    return Operand(spec, whole.buffer.part(first * each, spec.nbytes))


# The kernels ----------------------------------------------------------------------------------------------


def lay_beside(out, x, first, slices, depth, height, step, gap, front, deep, channels, start, stop):
    """out (images * rows, columns * groups * slices * channels of a group), x (all slices * rows, columns *
    groups * channels of a group): zeros where there is no slice."""
    pixels = x.shape[1] // channels
    wide = deep * channels
    for row in range(start, stop):
        image = first + row // height
        place = image % slices * step - front
        for q in range(deep):
            at = place + q * gap
            source = (image // slices * depth + at) * height + row % height
            if not 0 <= at < depth:
                for j in range(pixels):
                    for c in range(channels):
                        out[row, j * wide + q * channels + c] = 0
            elif channels < FEW:
                for c in range(channels):
                    for j in range(pixels):
                        out[row, j * wide + q * channels + c] = x[source, j * channels + c]
            else:
                for j in range(pixels):
                    for c in range(channels):
                        out[row, j * wide + q * channels + c] = x[source, j * channels + c]


def add_slices(
    out, beside, bias, first, origin, count, has_bias,
    slices, depth, height, step, gap, front, deep, channels, start, stop,
):  # fmt: skip
    """out (slices * rows, columns * groups * channels of a group), beside (images * rows, columns * groups *
    slices * channels of a group): begins with the bias unless parts before have been added."""
    pixels = out.shape[1] // channels
    wide = deep * channels
    for row in range(start, stop):
        image = origin + row // height
        before = first - image // depth * slices  # slices of this volume in parts before
        begun = False
        for q in range(deep):
            at = image % depth + front - q * gap
            begun = begun or (at >= 0 and at % step == 0 and at // step < min(slices, before))
        if not begun:
            for j in range(out.shape[1]):
                out[row, j] = bias[j % bias.shape[0]] if has_bias else 0
        for q in range(deep):
            at = image % depth + front - q * gap
            place = at // step - before
            if at >= 0 and at % step == 0 and at // step < slices and 0 <= place < count:
                source = place * height + row % height
                if channels < FEW:
                    for c in range(channels):
                        for j in range(pixels):
                            out[row, j * channels + c] += beside[source, j * wide + q * channels + c]
                else:
                    for j in range(pixels):
                        for c in range(channels):
                            out[row, j * channels + c] += beside[source, j * wide + q * channels + c]


def add_turned(out, x, start, stop):
    """out (filters, a, b, taps), x (parts, filters, b, a, taps): the sum of all parts."""
    for k in range(start, stop):
        for a in range(out.shape[1]):
            for b in range(out.shape[2]):
                for tap in range(out.shape[3]):
                    total = x[0, k, b, a, tap]
                    for part in range(1, x.shape[0]):
                        total += x[part, k, b, a, tap]
                    out[k, a, b, tap] = total
