"""A document of facts about a release, as HTML and as Markdown: everything escaped, no scripts, nothing fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jinja2 import Environment

Format = Literal["html", "md"]
Tone = Literal["good", "bad", "unsure"]
_MARKED = re.compile(r"([\\`*_~\[\]<>|#&])")
_LEADING = re.compile(r"^(\d*)([-+=.)])(?=[\s=-]|$)")
"""What would begin a list or underline a heading."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A word with a colour; the word alone says it too."""

    text: str
    tone: Tone


Cell = str | Mark


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands below it, in this order: notes, points, facts, a table."""

    title: str
    notes: tuple[str, ...] = ()
    points: tuple[Cell, ...] = ()
    facts: tuple[tuple[str, Cell], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The document. ``release`` is the digest that it is about."""

    title: str
    subtitle: str
    release: str
    sections: tuple[Section, ...]


def render(report: Report, form: Format) -> str:
    """The document as a whole HTML page (``html``) or as Markdown (``md``)."""
    return _environment().get_template(f"report.{form}.j2").render(report=report)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html.j2"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"text": _text, "markdown": lambda cell: markdown(_text(cell))}
    return made


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Mark) else cell


def markdown(text: str) -> str:
    """Text as Markdown shows it unchanged, on one line, also in a table.

    >>> markdown("a|b *c*")
    'a\\\\|b \\\\*c\\\\*'
    """
    return _LEADING.sub(r"\1\\\2", _MARKED.sub(r"\\\1", " ".join(text.split())))
