"""From a graph to something that runs.

| decided | by | in |
| --- | --- | --- |
| once for a graph | `Program` | `passes`, `layout`, `grouping`, `fusion`, `guard`, `steps`, `schedule` |
| once for each batch shape | its plans | `bound`, `placement`, `..._program` and `..._plan` of a device |

A `Program` knows no device by name: it asks its `Device` for kernels, passes and plans. Nothing is compiled
again for another size.
"""

from bigmodel_core.plan.device import Device
from bigmodel_core.plan.devices import device_named
from bigmodel_core.plan.passes import Computation, Passes, replaced
from bigmodel_core.plan.program import Program
from bigmodel_core.plan.variables import Variables

__all__ = ["Computation", "Device", "Passes", "Program", "Variables", "device_named", "replaced"]
