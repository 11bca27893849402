"""A small page of facts as HTML: everything escaped, no scripts, and links that really open.

The page is shown in a frame inside Airflow, whose own frames forbid new tabs; see ``run_tab.js``.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.5 system-ui, sans-serif; margin: 1rem; max-width: 75rem; }
h1 { font-size: 1.2rem; margin: 0 0 .2rem; }
h2 { font-size: 1rem; margin: 1.4rem 0 .4rem; border-bottom: 1px solid #8886; }
p { margin: .3rem 0; }
dl { display: grid; grid-template-columns: max-content auto; gap: .15rem 1rem; margin: .3rem 0; }
dt { opacity: .75; }
dd { margin: 0; overflow-wrap: anywhere; }
td { overflow-wrap: break-word; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #8884; }
time { white-space: nowrap; }
.good { color: light-dark(#176b2c, #6fd08a); font-weight: 600; }
.bad { color: light-dark(#b3151b, #ff8a8a); font-weight: 600; }
.unsure { color: light-dark(#8a5a00, #f0b949); font-weight: 600; }
"""
_STYLE_DIGEST = b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            f"style-src 'sha256-{_STYLE_DIGEST}'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
            # Tabs that are opened from here are ordinary ones: MLflow needs its scripts, the reports their reader.
            "sandbox allow-popups allow-popups-to-escape-sandbox",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""What goes with every page."""


@dataclass(frozen=True)
class Link:
    """A place to go: an address of the web, or one relative to the page."""

    text: str
    href: str

    def __post_init__(self) -> None:
        if urlsplit(self.href).scheme not in ("", "http", "https"):
            raise ValueError(f"a link leads to {self.href!r}; only http, https and relative addresses are accepted")


Tone = Literal["good", "bad", "unsure"]


@dataclass(frozen=True)
class Mark:
    """A word with a colour; the word alone says it too."""

    text: str
    tone: Tone


@dataclass(frozen=True)
class At:
    """A moment, on one line; None is a dash."""

    moment: datetime | None

    @property
    def text(self) -> str:
        """For people."""
        return "-" if self.moment is None else f"{self.moment:%Y-%m-%d %H:%M:%S} UTC"


Cell = str | Link | Mark | At


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in this order: notes, facts, a table."""

    title: str
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, Cell], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


def render(title: str, subtitle: str, sections: list[Section]) -> str:
    """The page."""
    return _template().render(title=title, subtitle=subtitle, sections=sections, style=STYLE)


@lru_cache(maxsize=1)
def _template() -> Template:
    here = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=here, autoescape=True, undefined=StrictUndefined).get_template("page.html.j2")
