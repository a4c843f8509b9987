"""A page of sections, and the one HTML file that it becomes.

The file holds its pictures in itself, loads nothing and runs no script; a policy in it forbids both. Whatever
is text is escaped. Blocks are what sections consist of; `page.html` says how each kind looks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from bigmodel_core.charts import Chart
from bigmodel_core.charts.chart import DARK, LIGHT
from bigmodel_core.errors import visible

MOST = 2_000_000
"""Bytes of a page, at most."""


@dataclass(frozen=True)
class Text:
    """A paragraph; `kind` is "warning" for what readers must not miss, "faint" for remarks, "title" for a
    heading of what follows."""

    form: ClassVar[str] = "text"
    text: str
    kind: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    form: ClassVar[str] = "facts"
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table, whose first column names its rows.

    Args:
        caption: what it shows.
        columns: their titles.
        rows: cells as texts.
        numbers: the titles of columns that are aligned to the right.
    """

    form: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numbers: Sequence[str] = ()


@dataclass(frozen=True)
class Charts:
    """Charts side by side, as many as there is room for."""

    form: ClassVar[str] = "charts"
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Picture:
    """An image of a `Gallery`.

    Args:
        source: a data URI, as `charts.png` gives it.
        about: what it shows, for those who do not see it.
        lines: the text below.
        is_sharp: whether its pixels are to be seen as such.
    """

    source: str
    about: str
    lines: Sequence[str] = ()
    is_sharp: bool = True


@dataclass(frozen=True)
class Gallery:
    """Images side by side, as many as there is room for; wide ones are twice as wide as high."""

    form: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]
    is_wide: bool = False


@dataclass(frozen=True)
class Shaded:
    """A text in pieces, each the darker the larger a number is.

    Args:
        caption: what the shade says.
        pieces: text, shade from 0 to 1, or to -1 in the other colour, and the number in words.
    """

    form: ClassVar[str] = "shaded"
    caption: str
    pieces: Sequence[tuple[str, float, str]]


@dataclass(frozen=True)
class Code:
    """Text as it is, in letters of equal width."""

    form: ClassVar[str] = "code"
    text: str
    about: str


@dataclass(frozen=True)
class Fields:
    """Fields to fill in, which lead to the same page with what they say; pages that a server gives have them.

    Args:
        button: what sends them.
        fields: name, label, value and an example for each.
    """

    form: ClassVar[str] = "fields"
    button: str
    fields: Sequence[tuple[str, str, str, str]]


@dataclass(frozen=True)
class Choices:
    """A table of things that lead to pages of their own, some of which can be ticked.

    Args:
        caption: what it shows.
        columns: their titles.
        rows: for each its name, its address, and the other cells.
        action: where the ticked ones lead, as `?run=a&run=b`.
        button: what goes there.
        numbers: the titles of columns that are aligned to the right.
    """

    form: ClassVar[str] = "choices"
    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Any]]]
    action: str
    button: str
    numbers: Sequence[str] = ()


@dataclass(frozen=True)
class Links:
    """Ways to other pages: text and address."""

    form: ClassVar[str] = "links"
    links: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Folded:
    """Blocks that are shown when asked for."""

    form: ClassVar[str] = "folded"
    title: str
    blocks: Sequence[Block]


Block = Text | Facts | Table | Charts | Gallery | Shaded | Code | Fields | Choices | Links | Folded


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        title: its heading.
        blocks: what it shows.
        parts: sections of it.
    """

    title: str
    blocks: Sequence[Block] = ()
    parts: Sequence[Section] = ()

    @property
    def key(self) -> str:
        """What links call it.

        >>> Section("How it ended").key
        'how-it-ended'
        """
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A page.

    Args:
        title: its heading.
        lead: a sentence below it.
        figures: the most important numbers with what they are.
        sections: in their order.
        foot: what made it.
        script: the address of a script that keeps the page up to date; "" for a page that is a file.
    """

    title: str
    lead: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    foot: str = ""
    script: str = ""

    def html(self) -> str:
        """The file.

        >>> "&lt;b&gt;" in Page("<b>").html()
        True
        """
        page, text = self, self._rendered()
        for form in (Gallery, Code, Charts):  # what takes most room
            if len(text.encode()) > MOST:
                page = replace(page, sections=[_without(form, part) for part in page.sections])
                text = page._rendered()
        return text

    def _rendered(self) -> str:
        colours = {name: _variables(values) for name, values in (("light", LIGHT), ("dark", DARK))}
        found: str = _template().render(page=self, **colours)
        return found


def _without(form: type, section: Section) -> Section:
    """A section without its blocks of one kind, also in its parts."""

    def kept(blocks: Sequence[Block]) -> list[Block]:
        why = Text("Left out: the page would be larger than 2 MB.", "faint")
        left = [why if isinstance(block, form) else block for block in blocks]
        return [
            replace(item, blocks=kept(item.blocks)) if isinstance(item, Folded) else item for item in left
        ]

    parts = [_without(form, part) for part in section.parts]
    return replace(section, blocks=kept(section.blocks), parts=parts)


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--bm-{name}:{colour};" for name, colour in colours.items())


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bigmodel_core.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template("page.html")


def _shown(value: Any) -> Any:
    """A value on a page: letters that cannot be shown are written as in source code."""
    return visible(value, keep="\n\t") if type(value) is str else value
