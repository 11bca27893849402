"""What is in a report reaches its reader as text, in both forms."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from modelyard.release.report import Mark, Report, Section, markdown, render

EVIL = "<script>alert(1)</script> | *x* [a](javascript:b) `c`\n# d &amp; <img src=x onerror=y>"
REPORT = Report(
    title=EVIL, subtitle=EVIL, release=EVIL,
    sections=(
        Section(EVIL, notes=(EVIL,), points=(EVIL, Mark(EVIL, "bad")), facts=((EVIL, EVIL), (EVIL, Mark(EVIL, "good"))),
                columns=(EVIL, "b"), rows=((EVIL, Mark(EVIL, "unsure")), ("plain", EVIL))),
        Section("Empty"),
    ),
)  # fmt: skip


class Page(HTMLParser):
    """Tags and texts of a page; one that is not closed is found at the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_shows_everything_and_runs_nothing() -> None:
    page = Page(render(REPORT, "html"))
    assert page.open == []
    assert not {"script", "img", "a"} & set(page.tags)
    assert page.texts.count(EVIL) == 15  # and once more beside the word Release
    assert page.tags.count("tr") == 3


def test_markdown_shows_everything_as_text() -> None:
    """By a reader of its own: nothing of a cell becomes a tag, a link, a heading or a column."""
    from markdown_it import MarkdownIt

    rendered = MarkdownIt("commonmark").enable("table").render(render(REPORT, "md"))
    page = Page(rendered)
    assert set(page.tags) <= {"h1", "h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert [page.tags.count(tag) for tag in ("h1", "h2", "ul", "li", "table")] == [1, 2, 1, 2, 2]
    assert page.tags.count("td") == 2 * 2 + 2 * 2
    assert "".join(page.texts).count(" ".join(EVIL.split())) == 15


@pytest.mark.parametrize(
    "text",
    ["a|b", "1 < 2", "*a*", "_a_", "[x]", "\\", "`", "#", "~~a~~", "&lt;", "- a", "+ a", "1. a", "2) a", "===", "---"],
)
def test_escaped_markdown_reads_back_as_it_was(text: str) -> None:
    from markdown_it import MarkdownIt

    page = Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"{markdown(text)}\n"))
    assert "".join(page.texts).strip() == text
    assert page.tags == ["p"]
