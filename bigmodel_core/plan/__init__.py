"""From a graph to something that runs: fusion, order, memory, execution.

`Program` is symbolic (one for a graph), a plan is a program bound to a device and to sizes (one for each
batch shape). Nothing is compiled anew for another size.
"""

from bigmodel_core.plan.device import Device, Variables
from bigmodel_core.plan.devices import device_named
from bigmodel_core.plan.program import Program

__all__ = ["Device", "Program", "Variables", "device_named"]
