"""The devices that have a name."""

from __future__ import annotations

from bigmodel_core.errors import DeviceError
from bigmodel_core.plan.device import Device


def device_named(name: str | Device) -> Device:
    """The device of a name.

    Raises:
        DeviceError: there is no such device, or it cannot be used here.
    """
    if isinstance(name, Device):
        return name
    if name == "cpu":
        from bigmodel_core.plan.cpu import CPU

        return CPU
    if name == "cuda":
        from bigmodel_core.plan.cuda import cuda_device

        return cuda_device()
    raise DeviceError(f"there is no device '{name}'.", fix="use 'cpu' or 'cuda'.")
