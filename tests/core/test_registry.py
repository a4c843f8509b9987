"""The promises of the plugin host, each with packages that exist only here."""

from __future__ import annotations

import inspect
import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy
import pytest

from bigmodel_core import registry
from bigmodel_core.errors import BigmodelError, PluginError, UnknownNameError, UsageError
from bigmodel_core.registry import hookspecs
from bigmodel_core.registry.discovery import PLURALS, display_name
from bigmodel_core.registry.host import PluginHost
from bigmodel_core.registry.loading import Loader, base_class, in_range
from tests.processes import run_code, run_in_threads

Install = Callable[..., Path]

SWISH = """
@dataclass(frozen=True)
class Swish(Layer):
    beta: float = 1.0

@hookimpl
def bigmodel_layers():
    return [Swish]
"""


def info(name: str) -> registry.PluginInfo:
    return next(plugin for plugin in registry.plugins() if plugin.name == name)


def run(code: str, site: Path, **environment: str) -> str:
    """What a fresh interpreter prints that sees the packages in `site`."""
    return run_code(code, beside=[site], **environment).stdout.strip()


# Finding names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Swish", "swish", "SWISH", "s-wish", "s_wish", "mine:Swish", "bigmodel-swish:swish"]
)
def test_look_ups_ignore_case_and_separators_and_take_qualified_names(install: Install, name: str) -> None:
    install("bigmodel-swish", SWISH, plugin="mine")
    assert registry.get("layer", name).__name__ == "Swish"


def test_a_class_is_found_by_its_own_name_and_by_its_class_name(install: Install) -> None:
    install(
        "p",
        """
        @dataclass(frozen=True)
        class Fashion(Layer):
            name = "fashion-mnist"
        @hookimpl
        def bigmodel_layers(): return [Fashion]
        """,
    )
    assert registry.get("layer", "fashion_mnist") is registry.get("layer", "Fashion")
    assert registry.names("layer") == ["fashion-mnist"]


@pytest.mark.parametrize(
    ("class_name", "shown"),
    [
        ("CrossEntropy", "cross_entropy"),
        ("SGD", "sgd"),
        ("Conv2d", "conv2d"),
        ("TopKAccuracy", "top_k_accuracy"),
    ],
)
def test_names_without_one_of_their_own_are_shown_in_snake_case(class_name: str, shown: str) -> None:
    assert display_name(type(class_name, (), {})) == shown


def test_a_field_called_name_is_not_a_display_name() -> None:
    import dataclasses

    cls = dataclasses.make_dataclass("Thing", [("name", str, "default")])
    assert display_name(cls) == "thing"


def test_a_display_name_is_not_inherited() -> None:
    parent = type("Digits", (), {"name": "digits"})
    assert display_name(type("MyDigits", (parent,), {})) == "my_digits"


def test_an_unknown_name_lists_the_nearest_and_the_command_that_lists_all(install: Install) -> None:
    install("bigmodel-swish", SWISH)
    with pytest.raises(UnknownNameError, match=r"no layer 'swich'.*nearest names are swish") as caught:
        registry.get("layer", "swich")
    assert "bigmodel plugins list" in str(caught.value)


def test_an_unknown_name_says_which_plugins_failed(install: Install) -> None:
    install("broken", "raise RuntimeError('no driver')")
    with pytest.raises(UnknownNameError, match=r"failed to load: broken \(RuntimeError: no driver\)"):
        registry.get("layer", "conv9d")


def test_an_unknown_kind_is_wrong_usage(install: Install) -> None:
    with pytest.raises(UsageError, match="'layers' is not a kind"):
        registry.names("layers")


def test_without_any_plugin_the_error_says_how_to_install(install: Install) -> None:
    with pytest.raises(UnknownNameError, match="No plugin is installed"):
        registry.get("layer", "dense")


# Free until used ----------------------------------------------------------------------------------------


def test_importing_the_registry_imports_neither_pluggy_nor_plugins(install: Install) -> None:
    site = install("bigmodel-swish", SWISH)
    code = "import sys, bigmodel_core.registry; print({'pluggy', 'bigmodel_swish'} & set(sys.modules))"
    assert run(code, site) == "set()"


def test_plugins_are_imported_once_on_the_first_look_up(install: Install) -> None:
    install(
        "p",
        "import builtins\nbuiltins.imports_of_p = getattr(builtins, 'imports_of_p', 0) + 1\n" + SWISH,
    )
    import builtins

    try:
        assert not hasattr(builtins, "imports_of_p")
        run_in_threads(4, lambda _: registry.get("layer", "swish"))
        assert builtins.imports_of_p == 1
    finally:
        del builtins.imports_of_p


def test_a_plugin_may_look_names_up_while_it_is_imported(install: Install) -> None:
    source = """
    from bigmodel_core import registry
    Parent = registry.get("layer", "swish")
    class Child(Parent): pass
    @hookimpl
    def bigmodel_layers(): return [Child]
    """
    install("a-early", source)
    install("z-late", SWISH)
    assert registry.get("layer", "child").__mro__[1] is registry.get("layer", "swish")


# A broken plugin breaks nothing ---------------------------------------------------------------------------

BROKEN = {
    "import error": ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named"),
    "error at import": ("raise ValueError('bad luck')", "ValueError: bad luck"),
    "exit at import": ("raise SystemExit(3)", "SystemExit: 3"),
    "syntax": ("def", "SyntaxError"),
    "hook raises": ("@hookimpl\ndef bigmodel_layers(): raise OSError('disk')", "OSError: disk"),
    "not a list": ("@hookimpl\ndef bigmodel_layers(): return 7", "bigmodel_layers returned 7"),
    "nothing": ("@hookimpl\ndef bigmodel_layers(): [Layer]", "bigmodel_layers returned None"),
    "no dataclass": (SWISH.replace("@dataclass(frozen=True)", ""), "Swish is not a dataclass"),
    "options of no dataclass": (
        SWISH
        + "\nclass More(Swish):\n    gamma: float = 2.0\n@hookimpl\ndef bigmodel_layers(): return [More]",
        "write @dataclass(frozen=True) above class More",
    ),
    "instance": (SWISH.replace("[Swish]", "[Swish()]"), "is not a class"),
    "wrong base": ("@hookimpl\ndef bigmodel_layers(): return [dict]", "does not derive from Layer"),
    "the base itself": ("@hookimpl\ndef bigmodel_layers(): return [Layer]", "does not derive from Layer"),
    "wrong hook": (SWISH.replace("bigmodel_layers", "bigmodel_metrics"), "does not derive from Metric"),
    "misspelt hook": (SWISH.replace("bigmodel_layers", "bigmodel_layer"), "did you mean bigmodel_layers"),
    "foreign hook": (SWISH.replace("def bigmodel_layers", "def other"), "there is no hook other"),
    "unmarked hook": ("def bigmodel_layers(): return []", "lacks @bm.hookimpl"),
    "unknown argument": (SWISH.replace("layers()", "layers(colour)"), "asks for the argument 'colour'"),
    "unknown keyword": (SWISH.replace("layers()", "layers(*, colour)"), "asks for the argument 'colour'"),
    "two of one name": (
        "@dataclass(frozen=True)\nclass Elu(Layer): pass\n@dataclass(frozen=True)\nclass ELU(Layer): pass\n"
        "@hookimpl\ndef bigmodel_layers(): return [Elu, ELU]",
        "offers Elu and ELU under one name",
    ),
    "bad version range": ("bigmodel_api = 'about one'", "cannot read the version range"),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_plugin_is_isolated_and_its_reason_kept(install: Install, source: str, reason: str) -> None:
    install("a-broken", source, version="2.5")
    install("bigmodel-swish", SWISH)
    assert registry.get("layer", "swish").__name__ == "Swish"
    failed = info("a_broken")
    assert failed.status == "failed"
    assert reason in failed.reason
    assert (failed.distribution, failed.version, failed.contents) == ("a-broken", "2.5", {})
    assert "Traceback" in failed.traceback


OP = """
    import bigmodel_core as bm

    @dataclass(frozen=True)
    class HalfOp(bm.Op):
        cpu, cuda = bm.elementwise(lambda x, index: x / 2)  # nothing is derived from positions
        def infer(self, x): return x
        def grad(self, dy, y, x): return (dy * 0.5,)
        {more}

    @dataclass(frozen=True)
    class Half(Layer):
        def __call__(self, x): return HalfOp()(x)

    @hookimpl
    def bigmodel_layers(): return [Half]
"""


def test_a_layers_op_that_cannot_be_exported_is_refused_when_it_is_registered(install: Install) -> None:
    install("unexportable", OP.format(more=""))
    assert info("unexportable").status == "failed"
    assert "HalfOp has a gradient but no ONNX lowering" in info("unexportable").reason


@pytest.mark.parametrize(
    "more", ["exported = False", "def onnx(self, emit, x): return emit.Mul(x, emit.const(0.5))"]
)
def test_an_op_that_is_exported_or_says_that_it_is_not_is_accepted(install: Install, more: str) -> None:
    install("half", OP.format(more=more))
    assert info("half").status == "ok"


def test_load_times_and_declared_versions_are_known(install: Install) -> None:
    """The time of a plugin is without those that it made load by looking a name up."""
    slow = "import time\ntime.sleep(0.2)\nbigmodel_api = '>=1,<2'\n"
    ask = "from bigmodel_core import registry\nregistry.get('layer', 'swish')\n"
    install("a-asking", ask)
    install("slow", slow + SWISH)
    asking, found = info("a_asking"), info("slow")
    assert found.seconds >= 0.2 > asking.seconds
    assert (found.api, asking.api) == (">=1,<2", "")


def test_a_missing_attribute_of_an_entry_point_is_the_plugins_failure(install: Install) -> None:
    install("p", SWISH, plugins={"p": "p:not_there"})
    assert "not_there" in info("p").reason


def test_the_partial_registration_of_a_broken_plugin_is_rolled_back(install: Install) -> None:
    install("half", SWISH + "\n@hookimpl\ndef bigmodel_metrics(): raise RuntimeError('half way')")
    assert info("half").status == "failed"
    assert registry.names("layer") == []
    with pytest.raises(
        UnknownNameError, match="needs the plugin 'half', which failed to load: RuntimeError: half way"
    ):
        registry.get("layer", "half:Swish")


def test_strict_mode_raises_the_failure_of_a_broken_plugin_at_every_look_up(install: Install) -> None:
    install("broken", "raise RuntimeError('no driver')")
    install("bigmodel-swish", SWISH)
    registry.configure(strict=True)
    for _ in range(2):
        with pytest.raises(PluginError, match=r"plugin 'broken' \(broken 1.0\): RuntimeError: no driver"):
            registry.get("layer", "swish")
    assert [plugin.status for plugin in registry.plugins()] == ["ok", "failed"]


def test_ctrl_c_while_a_plugin_is_imported_loses_no_plugin(install: Install) -> None:
    install("slow", "import os\nif os.environ.pop('PRESS', ''): raise KeyboardInterrupt\n" + SWISH)
    os.environ["PRESS"] = "1"
    with pytest.raises(KeyboardInterrupt):
        registry.names("layer")
    assert registry.names("layer") == ["swish"]


# No silent shadowing --------------------------------------------------------------------------------------


def test_a_name_of_two_plugins_is_an_error_that_names_both_distributions(install: Install) -> None:
    install("swish-one", SWISH, plugin="one")
    install("swish-two", SWISH, plugin="two")
    with pytest.raises(
        UnknownNameError, match=r"'one' \(swish-one 1.0\) and by 'two' \(swish-two 1.0\)"
    ) as caught:
        registry.get("layer", "swish")
    assert "one:Swish or two:Swish" in str(caught.value)
    assert registry.names("layer") == ["one:swish", "two:swish"]
    assert registry.get("layer", "one:Swish").__module__ == "swish_one"
    assert registry.get("layer", "two:swish").__module__ == "swish_two"


def test_two_distributions_with_one_plugin_name_are_told_apart_by_distribution(install: Install) -> None:
    install("swish-one", SWISH, plugin="swish")
    install("swish-two", SWISH, plugin="swish")
    with pytest.raises(UnknownNameError, match="swish-one:Swish or swish-two:Swish"):
        registry.get("layer", "swish:Swish")
    assert registry.get("layer", "swish-two:Swish").__module__ == "swish_two"


def test_one_class_offered_by_two_plugins_shadows_nothing(install: Install) -> None:
    install("p", SWISH, plugins={"first": "p", "second": "p"})
    assert registry.get("layer", "swish").__name__ == "Swish"


def test_blocking_one_of_two_plugins_settles_a_clash(install: Install) -> None:
    install("swish-one", SWISH, plugin="one")
    install("swish-two", SWISH, plugin="two")
    registry.configure(block=["one"])
    assert registry.get("layer", "swish").__module__ == "swish_two"


# An off switch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BIGMODEL_DISABLE_PLUGINS", "bad"),
        ("BIGMODEL_DISABLE_PLUGINS", "other, BAD"),
        ("BIGMODEL_DISABLE_PLUGINS", "bad-package"),
        ("BIGMODEL_PLUGINS", "swish"),
    ],
)
def test_a_plugin_switched_off_in_the_environment_is_never_imported(
    install: Install, variable: str, value: str
) -> None:
    install("bad-package", "raise RuntimeError", plugin="bad", module="a_bad_module")
    site = install("bigmodel-swish", SWISH, plugin="swish")
    code = (
        "import sys; from bigmodel_core import registry; registry.get('layer', 'swish:Swish');"
        "bad = [plugin for plugin in registry.plugins() if plugin.name == 'bad'];"
        "print('a_bad_module' in sys.modules, [(plugin.status, plugin.reason) for plugin in bad])"
    )
    printed = run(code, site, **{variable: value})
    assert printed.startswith("False [('blocked',")
    assert variable in printed


def test_a_plugin_switched_off_by_the_program_is_never_imported(install: Install) -> None:
    install("bad", "raise RuntimeError")
    install("bigmodel-swish", SWISH, plugin="swish")
    registry.configure(block=["bad"])
    assert registry.names("layer") == ["swish"]
    assert "bad" not in sys.modules
    assert (info("bad").status, info("bad").reason) == ("blocked", "switched off by the configuration")


def test_every_allow_list_must_name_a_plugin(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("one", SWISH.replace("Swish", "One"))
    install("two", SWISH.replace("Swish", "Two"))
    monkeypatch.setenv("BIGMODEL_PLUGINS", "one two")
    registry.configure(allow=["two"])
    assert registry.names("layer") == ["two"]


def test_an_allowed_plugin_that_is_not_installed_is_shown_as_failed(install: Install) -> None:
    registry.configure(allow=["swissh"])
    assert info("swissh").status == "failed"
    assert "no installed package offers it" in info("swissh").reason


def test_a_name_of_a_blocked_plugin_says_that_it_is_blocked(install: Install) -> None:
    install("bigmodel-swish", SWISH, plugin="swish")
    registry.configure(block=["swish"])
    with pytest.raises(UnknownNameError, match="which is blocked: switched off by the configuration"):
        registry.get("layer", "swish:Swish")


# An API version -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "status"),
    [
        (">=1,<2", "ok"),
        ("==1.0", "ok"),
        ("<=1", "ok"),
        (">=2", "skipped"),
        (">=0.5,<1", "skipped"),
        ("!=1", "skipped"),
    ],
)
def test_a_plugin_outside_its_declared_api_range_is_skipped(
    install: Install, declared: str, status: str
) -> None:
    install("p", f"bigmodel_api = {declared!r}\n{SWISH}")
    assert info("p").status == status
    assert registry.names("layer") == (["swish"] if status == "ok" else [])
    assert status == "ok" or "made for plugin API" in info("p").reason


def test_a_version_range_compares_numbers_and_not_texts() -> None:
    assert in_range((1, 10), ">=1.9,<2")
    assert not in_range((1, 10), "<1.9")


# Hooks that evolve ----------------------------------------------------------------------------------------


def newer_host() -> PluginHost:
    """A host of the future: one hook has gained an argument, and there is one more hook."""
    specs = types.ModuleType("newer_specs")
    for name in dir(hookspecs):
        if name.startswith("bigmodel_"):
            setattr(specs, name, getattr(hookspecs, name))

    def bigmodel_layers(precision: str) -> list[type]:
        """Layers, for a precision."""

    specs.bigmodel_layers = pluggy.HookspecMarker("bigmodel")(bigmodel_layers)
    return PluginHost(Loader(specs, {"precision": "bfloat16"}))


def test_an_old_plugin_works_in_a_host_whose_hook_gained_an_argument(install: Install) -> None:
    install("p", SWISH)
    assert newer_host().get("layer", "swish").__name__ == "Swish"


def test_a_new_plugin_gets_the_argument_in_a_new_host_and_a_clear_reason_in_an_old_one(
    install: Install,
) -> None:
    install("p", SWISH.replace("layers():", "layers(precision):\n    Swish.precision = precision"))
    assert newer_host().get("layer", "swish").precision == "bfloat16"
    assert info("p").status == "failed"
    assert "'precision', which this version does not pass" in info("p").reason


def test_an_argument_with_a_default_lets_a_new_plugin_run_in_an_old_host(install: Install) -> None:
    install("p", SWISH.replace("layers():", "layers(precision='float32'):"))
    assert registry.names("layer") == ["swish"]


def test_a_hook_marked_optional_may_be_unknown_to_the_host(install: Install) -> None:
    install("p", SWISH + "\n@hookimpl(optionalhook=True)\ndef bigmodel_quantizers(): return []")
    assert info("p").status == "ok"


def test_every_kind_has_a_documented_hook_without_required_arguments() -> None:
    specified = {name for name in dir(hookspecs) if name.startswith("bigmodel_")}
    assert specified == {f"bigmodel_{plural}" for plural in PLURALS.values()}
    for name in specified:
        assert inspect.getdoc(getattr(hookspecs, name))
        assert not inspect.signature(getattr(hookspecs, name)).parameters


@pytest.mark.parametrize("kind", registry.KINDS)
def test_what_the_hook_of_a_kind_returns_is_found_by_name(install: Install, kind: str) -> None:
    cls = dataclass(frozen=True)(type("Offered", (base_class(kind),), {}))
    hook = hookspecs.hookimpl(lambda: [cls])
    registry.register(types.SimpleNamespace(**{f"bigmodel_{PLURALS[kind]}": hook}), "mine")
    assert registry.get(kind, "mine:offered") is registry.get(kind, "offered") is cls
    assert info("mine").contents == {kind: ("offered",)}


# Plugins a program registers --------------------------------------------------------------------------------


def make_plugin(name: str = "Local") -> Any:
    from bigmodel_core.nn.layer import Layer

    cls = dataclass(frozen=True)(type(name, (Layer,), {}))
    return types.SimpleNamespace(bigmodel_layers=hookspecs.hookimpl(lambda: [cls])), cls


def test_a_program_can_register_a_plugin_and_replace_it(install: Install) -> None:
    (first, _), (second, newer) = make_plugin(), make_plugin()
    registry.register(first, "notebook")
    registry.register(second, "notebook")
    assert registry.get("layer", "local") is newer
    assert registry.qualified_name(newer) == "notebook:Local"
    assert info("notebook").distribution is None


def test_registering_a_broken_plugin_raises_and_leaves_nothing(install: Install) -> None:
    with pytest.raises(PluginError, match="not a class"):
        registry.register(types.SimpleNamespace(bigmodel_layers=hookspecs.hookimpl(lambda: [3])), "notebook")
    assert registry.plugins() == []


def test_reset_forgets_what_was_registered(install: Install) -> None:
    registry.register(make_plugin()[0], "notebook")
    registry.reset()
    assert registry.plugins() == []


# Namespaces -------------------------------------------------------------------------------------------------


def test_a_namespace_has_the_classes_as_attributes(install: Install) -> None:
    install("p", SWISH)
    layers = registry.Namespace("layer")
    assert layers.Swish is layers.get("swish") is registry.get("layer", "p:Swish")
    assert "Swish" in dir(layers)


def test_a_missing_attribute_is_an_unknown_name_and_an_attribute_error(install: Install) -> None:
    install("p", SWISH)
    layers = registry.Namespace("layer")
    assert not hasattr(layers, "Conv9d")
    with pytest.raises(BigmodelError, match="nearest names are swish"):
        _ = layers.Swich


def test_datasets_are_loaded_and_models_built_by_name_and_options(install: Install) -> None:
    install(
        "p",
        """
        from bigmodel_core.data.dataset import Dataset
        from bigmodel_core.nn.model import Model

        @dataclass(frozen=True)
        class Toy(Dataset):
            rows: int = 3
            def load(self, data_dir=None): return (self.rows, data_dir)

        @dataclass(frozen=True)
        class Net(Model):
            widths: tuple[int, ...] = (64,)

        @hookimpl
        def bigmodel_datasets(): return [Toy]
        @hookimpl
        def bigmodel_models(): return [Net]
        """,
    )
    assert registry.DatasetNamespace().load("toy", "somewhere", rows=5) == (5, Path("somewhere"))
    assert registry.ModelNamespace().build("net", widths=[8, 4]).widths == (8, 4)
    with pytest.raises(BigmodelError, match=r"no option 'row'") as caught:
        registry.DatasetNamespace().load("toy", row=5)
    assert "did you mean 'rows'?" in str(caught.value)
