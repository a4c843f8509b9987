"""A TOML file: its values and their line numbers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from bigmodel_core.errors import UsageError
from bigmodel_core.registry.plain_values import check_plain


class Document:
    """An experiment file: its values and their line numbers.

    Args:
        path: the file.

    Raises:
        UsageError: it cannot be read or is not TOML; names the line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text("utf-8")
            self.values = tomllib.loads(self.text)
        except OSError as error:
            raise UsageError(
                f"cannot read the experiment: {error.strerror}.", where=str(path), fix="check the path."
            ) from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise UsageError(
                "it is not UTF-8 text.", where=f"{path}, line {line}", fix="save it as UTF-8."
            ) from error
        except RecursionError:
            raise UsageError(
                "it is nested too deeply.", where=str(path), fix="nest values less deeply."
            ) from None
        except tomllib.TOMLDecodeError as error:
            message, _, place = str(error).rpartition(" (at ")
            place = place.rstrip(")") if message else ""
            if place == "end of document":
                place = f"line {len(self.text.splitlines())}"
            raise UsageError(
                f"this is not TOML: {message or error}.",
                where=", ".join(part for part in (str(path), place) if part),
                fix='write key = value; strings need quotes, as in name = "mlp".',
            ) from error
        try:
            check_plain(self.values)
        except ValueError as error:
            raise UsageError(f"{error}.", where=str(path), fix="nest values less deeply.") from None

    def section(self, name: str) -> dict[str, Any]:
        """The keys of a section; empty if it is missing."""
        found = self.values.get(name, {})
        if not isinstance(found, dict):
            raise self.error(
                f"'{name}' is not a section.", name, None, fix=f"write [{name}] on a line of its own."
            )
        return found

    def error(self, message: str, section: str, key: str | None, *, fix: str | None = None) -> UsageError:
        """An error with the line number of a section's key."""
        line = self.line(section, key)
        where = f"{self.path}, line {line}" if line else str(self.path)
        inside = f" [{section}]" if section else ""
        return UsageError(message, where=where + inside, fix=fix)

    def line(self, section: str, key: str | None) -> int | None:
        """The line of a key in a section, or that of the section, from 1."""
        current, header = "", None
        for number, text in enumerate(self.text.splitlines(), 1):
            if title := re.match(r"\s*\[\[?\s*([^\]#]+?)\s*\]\]?", text):
                current = title[1].strip("\"' ")
            elif found := re.match(r"""\s*["']?([\w-]+(?:\s*\.\s*[\w-]+)*)["']?\s*=""", text):
                path = [
                    part.strip()
                    for part in (f"{current}." if current else "").split(".") + found[1].split(".")
                ]
                names = [part for part in path if part]
                if key is not None and names == [*section.split("."), key]:
                    return number
                if names[: len(section.split("."))] == section.split(".") and header is None:
                    header = number
                continue
            if current == section and header is None:
                header = number
        return header
