"""Importing and vetting one plugin at a time; `registry` holds what they offer.

A plugin is taken whole or not at all. Each is registered in a pluggy manager of its own, which is dropped
with everything in it when a check fails; its classes are handed over only after every check has passed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import re
import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import ConfigError, PluginError, close_matches
from bigmodel_core.registry.contracts import fault
from bigmodel_core.registry.discovery import GROUP, KINDS, PLURALS, Candidate, PluginInfo, display_name, keys

if TYPE_CHECKING:
    import pluggy

    from bigmodel_core.graph import Op

API_VERSION = (1, 0)

BASES = {
    "layer": ("bigmodel_core.nn.layer", "Layer"),
    "loss": ("bigmodel_core.nn.loss", "Loss"),
    "optimizer": ("bigmodel_core.nn.optimizer", "Optimizer"),
    "schedule": ("bigmodel_core.nn.optimizer", "Schedule"),
    "metric": ("bigmodel_core.train.metric", "Metric"),
    "dataset": ("bigmodel_core.data.dataset", "Dataset"),
    "augmentation": ("bigmodel_core.data.augmentation", "Augmentation"),
    "model": ("bigmodel_core.nn.model", "Model"),
    "callback": ("bigmodel_core.train.callback", "Callback"),
    "exporter": ("bigmodel_core.exporting.exporter", "Exporter"),
    "strategy": ("bigmodel_core.nn.strategy", "Strategy"),
    "explainer": ("bigmodel_core.explaining.explainer", "Explainer"),
}
"""The module of each kind's base class; imported before the first plugin."""

Contents = dict[str, list[type[Any]]]


class SkippedPlugin(Exception):
    """A plugin made for another version of the plugin API."""


class Loader:
    """Imports plugins one by one and asks each for its classes.

    Args:
        specs: the module of hook specifications; `registry.hookspecs` unless a test brings a newer one.
        arguments: what hooks are called with, by argument name.
    """

    def __init__(self, specs: Any = None, arguments: Mapping[str, Any] | None = None) -> None:
        self.specs = (
            specs if specs is not None else importlib.import_module("bigmodel_core.registry.hookspecs")
        )
        self.arguments = dict(arguments or {})
        self._inner = 0.0  # seconds of plugins that the one being loaded made the host load

    def load(self, plugin: Candidate) -> tuple[PluginInfo, Contents]:
        """Import, vet and register one plugin; a failure is reported, never raised."""
        for kind in BASES:  # or the first plugin would seem to take the time that the host does
            base_class(kind)
        outer, self._inner = self._inner, 0.0
        began = time.perf_counter()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to the program, not to its plugins
                info, contents = self._loaded(plugin)
        finally:
            seconds = time.perf_counter() - began
            own, self._inner = seconds - self._inner, outer + seconds
        return dataclasses.replace(info, seconds=own), contents

    def _loaded(self, plugin: Candidate) -> tuple[PluginInfo, Contents]:
        api = ""
        try:
            module = plugin.load()
            declared = getattr(module, "bigmodel_api", None)
            api = declared if isinstance(declared, str) else ""
            _check_api(declared)
            contents = self._register(plugin, module)
        except SkippedPlugin as reason:
            return plugin.info("skipped", str(reason), api=api), {}
        except (Exception, SystemExit) as error:  # a plugin may even call sys.exit() when it is imported
            return plugin.info("failed", _one_line(error), api=api, traceback=traceback.format_exc()), {}
        names = {kind: tuple(display_name(cls) for cls in classes) for kind, classes in contents.items()}
        return plugin.info("ok", api=api, contents=names), contents

    def _register(self, plugin: Candidate, module: Any) -> Contents:
        import pluggy

        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(self.specs)
        _check_hooks(manager, module, self.specs)
        manager.register(module, name=plugin.name)
        manager.check_pending()
        contents = {kind: classes for kind in KINDS if (classes := self._offered(manager, kind))}
        if "layer" in contents or "model" in contents:
            _check_lowerings(module)
        return contents

    def _offered(self, manager: pluggy.PluginManager, kind: str) -> list[type[Any]]:
        name = f"bigmodel_{PLURALS[kind]}"
        classes: dict[type[Any], None] = {}
        for hook in getattr(manager.hook, name).get_hookimpls():  # pluggy would drop what is None
            offered = hook.function(*(self.arguments[argument] for argument in hook.argnames))
            if not isinstance(offered, (list, tuple)):
                raise PluginError(
                    f"{name} returned {offered!r}.", fix="return a list of classes, as in [Swish]."
                )
            for cls in offered:
                _check_class(cls, kind, name)
                classes[cls] = None
        seen: dict[str, type[Any]] = {}
        for cls in classes:
            for key in sorted(keys(cls)):
                if seen.setdefault(key, cls) is not cls:
                    first, second = seen[key].__qualname__, cls.__qualname__
                    raise PluginError(
                        f"{name} offers {first} and {second} under one name.", fix="rename one."
                    )
        return list(classes)


def base_class(kind: str) -> type[Any]:
    """The class that everything of a kind derives from."""
    module, name = BASES[kind]
    base: type[Any] = getattr(importlib.import_module(module), name)
    return base


def _check_class(cls: object, kind: str, hook: str) -> None:
    if not isinstance(cls, type):
        raise PluginError(
            f"{hook} offers {cls!r}, which is not a class.", fix="offer the class, not an instance."
        )
    base = base_class(kind)
    if not issubclass(cls, base) or cls is base:
        raise PluginError(
            f"{hook} offers {cls.__qualname__}, which does not derive from {base.__name__}.",
            fix=f"write `class {cls.__name__}(bm.{base.__name__})`, or offer it through another hook.",
        )
    if wrong := fault(cls, kind, base):
        raise PluginError(wrong[0], fix=wrong[1])
    if not _is_dataclass(cls):
        raise PluginError(
            f"{cls.__qualname__} is not a dataclass, so its options cannot be set or saved.",
            fix=f"write @dataclass(frozen=True) above class {cls.__name__}, and its options as fields.",
        )


def _is_dataclass(cls: type[Any]) -> bool:
    """Whether a class is a dataclass; one that adds no options to another may leave the decorator out."""
    if "__dataclass_fields__" in vars(cls):
        return True
    options = [name for name, of in inspect.get_annotations(cls).items() if "ClassVar" not in str(of)]
    return dataclasses.is_dataclass(cls) and not options and "__init__" not in vars(cls)


def _check_lowerings(module: object) -> None:
    """Refuse a layer's op that could be trained but never exported: better now than after the training."""
    from bigmodel_core.graph import Op

    package = str(getattr(module, "__name__", "")).split(".")[0]
    waiting = [Op]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            home = sys.modules.get(cls.__module__)
            mine = cls.__module__.split(".")[0] == package and getattr(home, cls.__name__, None) is cls
            if mine and cls.exported and cls.grad is not Op.grad and not _is_written(cls):
                raise PluginError(
                    f"the op {cls.__qualname__} has a gradient but no ONNX lowering.",
                    fix="define onnx(self, emit, ...), or set `exported = False` if only training uses it.",
                )


def _is_written(cls: type[Op]) -> bool:
    """Whether files can have an op: by its own lowering, or by that of what it is made of."""
    from bigmodel_core.graph import Op
    from bigmodel_core.ops.derived import has_parts

    return cls.onnx is not Op.onnx or cls.decomposed is not Op.decomposed or has_parts(cls)


def _check_hooks(manager: pluggy.PluginManager, module: object, specs: Any) -> None:
    """Refuse what would be ignored in silence: hooks misspelt, unmarked or with unknown arguments."""
    names = [name for name in dir(specs) if name.startswith("bigmodel_")]
    known = {name: inspect.signature(getattr(specs, name)) for name in names}
    home = getattr(module, "__name__", None)
    for name in dir(module):
        options = manager.parse_hookimpl_opts(module, name)
        if options is None:
            function = vars(module).get(name) if hasattr(module, "__dict__") else None
            if name.startswith("bigmodel_") and inspect.isfunction(function) and function.__module__ == home:
                raise PluginError(f"the function {name} lacks @bm.hookimpl.", fix="mark it, or rename it.")
            continue
        hook = options.get("specname") or name
        if hook not in known:
            if options.get("optionalhook"):  # how a plugin says that an older host may not know it
                continue
            near = close_matches(hook, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"the hooks are {', '.join(known)}."
            raise PluginError(f"there is no hook {hook}.", fix=hint)
        for parameter in inspect.signature(getattr(module, name)).parameters.values():
            if parameter.default is parameter.empty and parameter.name not in known[hook].parameters:
                raise PluginError(
                    f"{hook} asks for the argument '{parameter.name}', which this version does not pass.",
                    fix="remove the argument, or require a newer bigmodel in the plugin's dependencies.",
                )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}".rstrip(": ")


# The API version --------------------------------------------------------------------------------------


def _check_api(declared: object) -> None:
    if declared is None:
        return
    if not isinstance(declared, str):
        raise PluginError(f"bigmodel_api is {declared!r}.", fix="write a range such as '>=1,<2'.")
    if not in_range(API_VERSION, declared):
        raise SkippedPlugin(
            f"made for plugin API {declared}; this version has {'.'.join(map(str, API_VERSION))}"
        )


def in_range(version: tuple[int, ...], declared: str) -> bool:
    """Whether a version is in a range such as ">=1,<2".

    Raises:
        ConfigError: the range cannot be read.

    >>> in_range((1, 0), ">=1,<2"), in_range((2, 1), ">=1,<2"), in_range((1, 0), "==1")
    (True, False, True)
    """
    for clause in declared.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*", clause)
        if not match:
            raise ConfigError(f"cannot read the version range {declared!r}.", fix="write it as '>=1,<2'.")
        limit = tuple(int(part) for part in match[2].split("."))
        width = max(len(version), len(limit))
        a, b = (part + (0,) * (width - len(part)) for part in (version, limit))
        if not {">=": a >= b, "<=": a <= b, "==": a == b, "!=": a != b, ">": a > b, "<": a < b}[match[1]]:
            return False
    return True
