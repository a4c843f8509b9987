"""Export and import by file ending: which exporter serves a file, and writing it whole or not at all."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core import registry
from bigmodel_core.data.encoding import Encoding, encoding_in
from bigmodel_core.errors import BigmodelError, ConfigError, ExportError, PluginError, UsageError
from bigmodel_core.exporting.exporter import Exporter
from bigmodel_core.nn.layer import Layer
from bigmodel_core.registry import config

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network


def export(
    model: Layer | Network, path: str | Path, *, exporter: str | Exporter | None = None, **options: Any
) -> Any:
    """Write a built model to a file that other programs can run, verified before it appears.

    Args:
        model: a built model.
        path: where to write; its ending chooses the exporter.
        exporter: an exporter or its name, if the ending does not say.
        options: the exporter's fields (`opset=17`) and what is known of the run (`labels=...`, `data=...`).

    Returns:
        The exporter's report: printable, `to_dict()` for programs.

    Raises:
        ExportError: the model cannot be exported, or the file cannot be written or does not compute the same.
        ConfigError: an option is unknown or has a wrong value.
        UnknownNameError: no exporter has this name.
        UsageError: no exporter serves this ending, or several do.
        PluginError: the exporter's report lacks what `bigmodel export` prints; no file appears.

    >>> import tempfile, os
    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Relu(), bm.layers.Dense(3))
    >>> network = model.build(bm.Spec(("N", 4)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = bm.export(model, os.path.join(folder, "model.onnx"))
    >>> report.nodes
    3
    """
    target = Path(path)
    chosen = exporter if isinstance(exporter, Exporter) else None
    if isinstance(exporter, Exporter):
        cls = type(exporter)
    else:
        cls = _named(exporter) if exporter else exporter_for(target)
    own = {item.name for item in fields(cls)}
    details = {key: value for key, value in options.items() if key not in own}
    settings = {key: value for key, value in options.items() if key in own}
    if chosen is not None and settings:
        raise UsageError(
            f"{', '.join(settings)} cannot be given together with an exporter.",
            fix=f"set it there: {cls.__name__}(...).",
        )
    parameters = inspect.signature(cls.export).parameters
    known = [name for name in parameters if name not in ("self", "model", "path")]
    unknown = sorted(set(details) - set(known))
    if unknown and not any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
        raise ConfigError(
            f"the exporter {cls.__name__} has no option '{unknown[0]}'.",
            fix=f"use one of {', '.join(sorted({*known, *own}))}.",
        )
    return _exported(chosen or config.build(cls, settings), model, target, details)


def _exported(exporter: Exporter, model: Any, target: Path, details: dict[str, Any]) -> Any:
    """Have a file written aside; it gets its place once there is a report of it."""
    with staged(target) as folder:
        aside = folder / target.name
        try:
            report = exporter.export(model, aside, **details)
        except BigmodelError as error:  # which names the place that the caller gave
            here, there = str(folder), str(target.parent)
            for part in ("message", "fix", "where"):
                if text := getattr(error, part):
                    setattr(error, part, text.replace(here, there))
            raise
        _check_report(exporter, report)
        if not aside.is_file():
            raise ExportError("the exporter wrote no file.", where=type(exporter).__name__)
    report = _placed(report, aside, target)
    exporter.tidy(target, report)
    return report


def _check_report(exporter: Exporter, report: Any) -> None:
    """Check that a report has what the command line prints.

    Raises:
        PluginError: it lacks something.
    """
    name = type(exporter).__name__
    fix = f"make {name}.export return a printable object whose to_dict() returns JSON values."
    if not callable(getattr(report, "to_dict", None)):
        raise PluginError(f"its report, {_type(report)}, has no to_dict().", where=name, fix=fix)
    try:
        said = report.to_dict()
        if not isinstance(said, dict):
            raise TypeError(f"to_dict() gives {_type(said)}, not a dict")
        json.dumps(said, allow_nan=False)
        str(report)
    except Exception as error:
        raise PluginError(f"its report cannot be shown: {error}.", where=name, fix=fix) from error


def _placed(report: Any, aside: Path, target: Path) -> Any:
    """A report that names the place of the file instead of if it was written first."""
    paths = {
        name: value for name, value in getattr(report, "__dict__", {}).items() if value in (aside, str(aside))
    }
    for name, value in paths.items():
        object.__setattr__(report, name, type(value)(target))
    return report


def _type(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def from_onnx(path: str | Path) -> Layer:
    """A trainable model from an ONNX file; all operators that cannot be read are listed at once.

    Args:
        path: the file; sidecar files are read from its own folder only.

    Returns:
        A built model whose parameters are the file's weights, by the names they have there.

    Raises:
        ExportError: the file is missing, damaged or unsafe, or uses operators that cannot be read.
    """
    model: Layer = reader_of(Path("model.onnx"), "load").load(Path(path))
    return model


def exporter_for(path: Path, *, owner: str | None = None) -> type[Exporter]:
    """The exporter that serves a file ending.

    Args:
        path: a file.
        owner: the module that wants to know; the one that calls if None.

    Raises:
        UsageError: none does, or several do and none of them comes with the asker's package.
    """
    known = [cls for cls in registry.classes("exporter") if cls.suffix]
    serving = [cls for cls in known if cls.suffix.lower() == path.suffix.lower()]
    if len(serving) > 1:
        serving = registry.meant(serving, owner=owner)
    if len(serving) == 1:
        return serving[0]
    if serving:
        names = [registry.qualified_name(cls) for cls in serving]
        raise UsageError(
            f"files that end in '{path.suffix}' are written by the exporters {' and '.join(names)}.",
            where=str(path),
            fix=f'say which: exporter="{names[0]}", or --exporter {names[0]} on the command line.',
        )
    endings = sorted({cls.suffix for cls in known})
    raise UsageError(
        f"no exporter writes files that end in '{path.suffix}'.",
        where=str(path),
        fix=f"use one of these endings: {', '.join(endings) or '(no exporter is installed)'}.",
    )


def reader_of(path: Path, ability: str) -> Any:
    """The exporter that reads files like this one.

    Args:
        path: the file.
        ability: the method that is needed, such as "describe".

    Raises:
        UsageError: none does, or the one that writes them cannot read them.
    """
    cls = exporter_for(path, owner=__name__)
    if not callable(getattr(cls, ability, None)):
        raise UsageError(
            f"the exporter {cls.__name__} writes such files and does not read them.",
            where=str(path),
            fix="name an ONNX file, a run or a checkpoint.",
        )
    return cls()


def recorded_encoding(path: Path) -> Encoding:
    """What an exported file says of the data of the model's training.

    Raises:
        ExportError: the file is missing or damaged.
        UsageError: no exporter reads such files.
    """
    return encoding_in(reader_of(path, "session").session(path).metadata)


def _named(name: str) -> type[Exporter]:
    cls: type[Exporter] = registry.get("exporter", name)
    return cls


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A folder for files that appear beside `path` when the block ends well, and vanish when it does not.

    Each file moves with one atomic rename; the one named like `path` moves last.

    Raises:
        ExportError: the place cannot be written to, or the disk is full.
    """
    if not path.parent.is_dir():
        raise ExportError(
            f"the folder {path.parent} does not exist.", where=path.name, fix="create it, or write elsewhere."
        )
    if path.is_dir():
        raise ExportError("there is a folder of this name.", where=str(path), fix="name a file in it.")
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        yield folder
        files = sorted(folder.iterdir(), key=lambda file: (file.name == path.name, file.name))
        for file in files:
            _settle(file)
        for file in files:
            os.replace(file, path.parent / file.name)
        _settle(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ExportError(
            f"cannot write the file: {reason}.",
            where=str(path),
            fix="free some space, or write to another place.",
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _settle(path: Path) -> None:
    """Have a file or folder reach the disk, so that a rename never shows what is not there yet."""
    with suppress(PermissionError, IsADirectoryError):  # folders cannot be opened everywhere
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
