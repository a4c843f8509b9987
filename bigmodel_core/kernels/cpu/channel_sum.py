"""Sums of channels on the CPU, channels last."""

from __future__ import annotations

from bigmodel_core.kernels.cpu import reduce

channel_sum = reduce.sum_
