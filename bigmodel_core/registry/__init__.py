"""Look-up of names: layers, losses, optimizers, data sets and the rest, from whichever plugin offers them.

Plugins are loaded on the first look-up, all of them once; importing this module imports none. Look-ups ignore
case, '-' and '_'. A qualified name, `plugin:Name`, always says which plugin is meant; without one, the code
of a package finds its own package's names first (`registry.askers`).

    registry.get("layer", "dense")          # the class Dense of the plugin `layers`
    registry.get("layer", "swish:Swish")    # that of the plugin `swish`, even if others offer a Swish
    registry.names("dataset")               # ['csv', 'digits', ...]

`BIGMODEL_PLUGINS` (an allow list) and `BIGMODEL_DISABLE_PLUGINS` hold names of plugins or of their
distributions, separated by commas or spaces; `configure` takes the same. What is switched off is never
imported.
"""

from bigmodel_core.registry.config import make
from bigmodel_core.registry.discovery import KINDS, PluginInfo, display_name
from bigmodel_core.registry.lookup import (
    check,
    classes,
    configure,
    get,
    meant,
    names,
    origin,
    plugins,
    qualified_name,
    register,
    reset,
)
from bigmodel_core.registry.namespaces import DatasetNamespace, ModelNamespace, Namespace

__all__ = [
    "KINDS",
    "DatasetNamespace",
    "ModelNamespace",
    "Namespace",
    "PluginInfo",
    "check",
    "classes",
    "configure",
    "display_name",
    "get",
    "make",
    "meant",
    "names",
    "origin",
    "plugins",
    "qualified_name",
    "register",
    "reset",
]
