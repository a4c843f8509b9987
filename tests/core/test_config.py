"""Configurations: what is written, what is read back, and what is refused."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel_core import registry
from bigmodel_core.errors import ConfigError, UnknownNameError, UsageError
from bigmodel_core.registry import config

Install = Callable[..., Path]

SOURCE = """
from typing import Literal
from bigmodel_core.registry.loading import base_class
Optimizer, Schedule = base_class("optimizer"), base_class("schedule")

@dataclass(frozen=True)
class Cosine(Schedule):
    steps: int = 100
    name = "cosine"

@dataclass(frozen=True)
class Adam(Optimizer):
    learning_rate: float | Schedule = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None
    amsgrad: bool = False
    mode: Literal["fast", "exact"] = "fast"

@dataclass(frozen=True)
class Block(Layer):
    inner: Layer | None = None
    widths: tuple[int, ...] = ()
    label: str = ""

@dataclass(frozen=True)
class Needy(Layer):
    units: int
    def __post_init__(self):
        if self.units < 1:
            raise ValueError("units must be positive")

@hookimpl
def bigmodel_layers(): return [Block, Needy]
@hookimpl
def bigmodel_optimizers(): return [Adam]
@hookimpl
def bigmodel_schedules(): return [Cosine]
"""


@pytest.fixture
def plugin(install: Install) -> Any:
    install("bigmodel-kit", SOURCE, plugin="kit")
    registry.names("layer")
    return sys.modules["bigmodel_kit"]


# Writing and reading ------------------------------------------------------------------------------------


def test_a_configuration_holds_registry_names_and_plain_fields(plugin: Any) -> None:
    block = plugin.Block(plugin.Needy(7), widths=(1, 2))
    assert config.to_config(block) == {
        "kind": "layer",
        "name": "kit:Block",
        "distribution": "bigmodel-kit",
        "fields": {
            "inner": {
                "kind": "layer",
                "name": "kit:Needy",
                "distribution": "bigmodel-kit",
                "fields": {"units": 7},
            },
            "widths": [1, 2],
            "label": "",
        },
    }


def test_objects_come_back_equal_through_json(plugin: Any) -> None:
    for obj, kind in [
        (plugin.Adam(plugin.Cosine(3), (0.1, 0.2), clip=1.0, amsgrad=True, mode="exact"), "optimizer"),
        (plugin.Block(plugin.Block(plugin.Needy(4), (1, 2)), (3,), "a label"), "layer"),
    ]:
        assert config.from_config(kind, json.loads(json.dumps(config.to_config(obj)))) == obj


def test_numpy_numbers_are_saved_as_plain_numbers(plugin: Any) -> None:
    fields = config.to_config(plugin.Adam(np.float32(0.5), clip=np.int64(3), amsgrad=np.bool_(True)))[
        "fields"
    ]
    assert [type(fields[name]) for name in ("learning_rate", "clip", "amsgrad")] == [float, int, bool]


@pytest.mark.parametrize("value", [np.zeros(2), len, math.inf, math.nan, {1: 2}], ids=repr)
def test_what_cannot_be_written_down_is_named_by_its_field(plugin: Any, value: object) -> None:
    with pytest.raises(ConfigError, match=r"Adam\.clip: .* cannot be saved"):
        config.to_config(plugin.Adam(clip=value))


def test_a_class_that_no_plugin_offers_cannot_be_saved(plugin: Any) -> None:
    @dataclass(frozen=True)
    class Mine(plugin.Block):
        pass

    with pytest.raises(UnknownNameError, match="no plugin offers the class .*Mine"):
        config.to_config(Mine())


def test_a_missing_plugin_is_named_with_the_package_that_brings_it(plugin: Any) -> None:
    saved = config.to_config(plugin.Needy(3))
    registry.configure(allow=[])
    saved["name"], saved["distribution"] = "gone:Needy", "bigmodel-gone"
    with pytest.raises(
        UnknownNameError, match="plugin 'gone' of the package 'bigmodel-gone', which is not inst"
    ) as e:
        config.from_config("layer", saved)
    assert "pip install bigmodel-gone" in str(e.value)


def test_another_package_of_the_same_plugin_name_is_not_taken_instead(plugin: Any) -> None:
    saved = {**config.to_config(plugin.Needy(3)), "distribution": "somebody-elses-kit"}
    with pytest.raises(UnknownNameError, match="package 'somebody-elses-kit', which is not installed"):
        config.from_config("layer", saved)


@pytest.mark.parametrize(
    "name",
    ["os:system", "builtins:eval", "json.decoder:JSONDecoder", "kit:bigmodel_layers", "subprocess:Popen"],
)
def test_nothing_is_imported_or_found_by_a_module_path(plugin: Any, name: str) -> None:
    with pytest.raises(UnknownNameError):
        config.from_config("layer", {"name": name, "fields": {}})


@pytest.mark.parametrize(
    "tampered",
    [
        None,
        [],
        {},
        {"name": 3, "fields": {}},
        {"name": "kit:Needy", "fields": []},
        {"name": "kit:Needy", "fields": {"units": "3"}},
        {"name": "kit:Needy", "fields": {"units": True}},
        {"name": "kit:Needy", "fields": {"units": 1.5}},
        {"name": "kit:Needy", "fields": {}},
        {"name": "kit:Needy", "fields": {"units": 0}},
        {"name": "kit:Needy", "fields": {"units": 3, "__class__": 3}},
        {"name": "kit:Needy", "fields": {"units": 3}, "module": "os"},
        {"name": "kit:Needy", "fields": {"units": 3}, "kind": "code"},
        {"name": "kit:Needy", "fields": {"units": 3}, "kind": ["layer"]},
        {"name": "kit:Needy", "fields": {"units": 3}, "distribution": 7},
        {"name": "kit:Adam", "fields": {}, "kind": "optimizer"},
        {"name": "kit:Block", "fields": {"inner": {"kind": "optimizer", "name": "kit:Adam", "fields": {}}}},
        {"name": "kit:Block", "fields": {"inner": {"kind": [], "name": "kit:Adam", "fields": {}}}},
        {"name": "kit:Block", "fields": {"widths": [1, [2]]}},
        {"name": "kit:Block", "fields": {"label": {}}},
    ],
    ids=repr,
)
def test_a_tampered_configuration_is_refused(plugin: Any, tampered: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        config.from_config("layer", tampered)
    assert "Fix:" in str(caught.value)


def test_a_configuration_nested_without_end_is_refused(plugin: Any) -> None:
    nested: dict[str, Any] = {"name": "kit:Block", "fields": {}}
    for _ in range(5000):
        nested = {"name": "kit:Block", "fields": {"inner": nested}}
    with pytest.raises(ConfigError, match="nested too deeply"):
        config.from_config("layer", nested)


# Making objects -----------------------------------------------------------------------------------------


def test_make_takes_an_instance_a_class_a_name_and_mappings(plugin: Any) -> None:
    default = plugin.Adam()
    assert config.make("optimizer", default) is default
    for value in (plugin.Adam, "adam", "kit:Adam", {"name": "ADAM"}, config.to_config(default)):
        assert config.make("optimizer", value) == default
    assert config.make("optimizer", {"name": "adam", "learning_rate": 1}).learning_rate == 1.0


@pytest.mark.parametrize("value", [3, None, int, {"learning_rate": 1}, ["adam"]], ids=repr)
def test_make_refuses_what_names_nothing(plugin: Any, value: object) -> None:
    with pytest.raises(UsageError, match="is not an optimizer"):
        config.make("optimizer", value)


def test_a_nested_object_can_be_given_by_name(plugin: Any) -> None:
    assert config.build(plugin.Adam, {"learning_rate": "cosine"}).learning_rate == plugin.Cosine()
    toml = {"learning_rate": {"name": "cosine", "steps": 9}}
    assert config.build(plugin.Adam, toml).learning_rate == plugin.Cosine(9)


def test_other_generic_annotations_take_what_is_an_instance() -> None:
    cls = dataclass(type("Odd", (), {"__annotations__": {"x": Callable[[int], int] | None}, "x": None}))
    assert config.build(cls, {"x": abs}).x is abs
    with pytest.raises(ConfigError, match=r"Odd\.x: expected"):
        config.build(cls, {"x": 3})


def test_an_error_of_the_constructor_is_told_with_the_options(plugin: Any) -> None:
    with pytest.raises(ConfigError, match=r"Needy: cannot be built with units=0: units must be positive"):
        config.build(plugin.Needy, {"units": 0})


def test_a_missing_option_is_named(plugin: Any) -> None:
    with pytest.raises(ConfigError, match="Needy: the option 'units' is missing"):
        config.make("layer", "needy")


def test_an_unknown_option_names_the_nearest(plugin: Any) -> None:
    with pytest.raises(ConfigError, match="Adam: there is no option 'learning_rat'") as caught:
        config.build(plugin.Adam, {"learning_rat": 1})
    assert "did you mean 'learning_rate'?" in str(caught.value)


# Options as typed ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """One field of every kind of annotation."""

    count: int = 0
    rate: float = 0.0
    flag: bool = False
    text: str = ""
    maybe: int | None = None
    either: int | float | str = 0
    many: tuple[int, ...] = ()
    pair: tuple[int, float] = (0, 0.0)
    choice: Literal["a", 2] = "a"
    noted: Annotated[int, "a note"] = 0
    column: int | str | None = None


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("count", "12", 12),
        ("count", " -3 ", -3),
        ("rate", "0.01", 0.01),
        ("rate", "1e-3", 1e-3),
        ("rate", "2", 2.0),
        ("rate", "inf", math.inf),
        ("flag", "true", True),
        ("flag", "No", False),
        ("flag", "1", True),
        ("flag", "off", False),
        ("text", "none", "none"),
        ("text", "", ""),
        ("maybe", "none", None),
        ("maybe", "5", 5),
        ("either", "3", 3),
        ("either", "3.5", 3.5),
        ("either", "three", "three"),
        ("many", "64,32", (64, 32)),
        ("many", "(64, 32)", (64, 32)),
        ("many", "[64,]", (64,)),
        ("many", "64", (64,)),
        ("many", "", ()),
        ("pair", "1,2.5", (1, 2.5)),
        ("choice", "a", "a"),
        ("choice", "2", 2),
        ("noted", "4", 4),
        ("column", "label", "label"),
        ("column", "-1", -1),
        ("column", "none", None),
    ],
)
def test_typed_text_is_read_by_the_annotation(field: str, text: str, value: object) -> None:
    read = config.parse_fields(Options, {field: text})[field]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("count", "1.5", "an integer"),
        ("count", "1e3", "an integer"),
        ("rate", "fast", "a number"),
        ("rate", "nan", "a number"),
        ("flag", "maybe", "true or false"),
        ("maybe", "x", "an integer or none"),
        ("many", "1,x", "integers separated by commas"),
        ("many", "1,,2", "integers separated by commas"),
        ("pair", "1", "2 values separated by commas"),
        ("choice", "b", "'a' or 2"),
    ],
)
def test_text_that_cannot_be_read_says_what_was_expected(field: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_fields(Options, {field: text})
    assert f"Options.{field}: expected {expected}" in str(caught.value)
    assert f"got {text!r}" in str(caught.value)
    assert "Fix: pass" in str(caught.value)


def test_option_names_may_be_written_with_hyphens_but_once(plugin: Any) -> None:
    assert config.parse_fields(plugin.Adam, {"learning-rate": "0.5"}) == {"learning_rate": 0.5}
    with pytest.raises(ConfigError, match="given twice"):
        config.parse_fields(plugin.Adam, {"learning-rate": "0.5", "learning_rate": "1"})


@dataclass(frozen=True)
class Renamed:
    slope: float = 1.0
    renamed_fields: ClassVar[dict[str, str]] = {"beta": "slope"}


def test_an_option_is_found_by_the_name_that_it_had() -> None:
    assert config.build(Renamed, {"beta": 2.0}) == Renamed(2.0)
    assert config.parse_fields(Renamed, {"beta": "2"}) == {"slope": 2.0}
    with pytest.raises(ConfigError, match="'slope' is given twice"):
        config.build(Renamed, {"beta": 2.0, "slope": 3.0})
    with pytest.raises(ConfigError, match="no option 'gamma'"):
        config.build(Renamed, {"gamma": 2.0})


def test_a_number_or_the_name_of_an_object_may_be_typed(plugin: Any) -> None:
    assert config.parse_fields(plugin.Adam, {"learning_rate": "cosine"}) == {"learning_rate": plugin.Cosine()}
    with pytest.raises(ConfigError, match=r"a number or a schedule, got 'cosin'.*nearest names are cosine"):
        config.parse_fields(plugin.Adam, {"learning_rate": "cosin"})


def test_only_the_annotations_of_fields_need_to_be_there_at_run_time() -> None:
    space = {"__annotations__": {"x": "int", "y": "ClassVar[Nowhere]"}, "x": 1, "__module__": __name__}
    assert config.parse_fields(dataclass(type("Odd", (), space)), {"x": "1"}) == {"x": 1}


def test_an_annotation_that_cannot_be_resolved_is_the_class_authors_error() -> None:
    cls = type("Odd", (), {"__annotations__": {"x": "Nowhere"}, "x": 1, "__module__": __name__})
    with pytest.raises(ConfigError, match="an annotation of Odd cannot be resolved"):
        config.parse_fields(dataclass(cls), {"x": "1"})


@given(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.lists(st.integers())
)
def test_what_python_prints_is_read_back(count: int, rate: float, flag: bool, many: list[int]) -> None:
    texts = {"count": str(count), "rate": repr(rate), "flag": str(flag), "many": str(tuple(many))}
    expected = {"count": count, "rate": rate, "flag": flag, "many": tuple(many)}
    assert config.parse_fields(Options, texts) == expected
