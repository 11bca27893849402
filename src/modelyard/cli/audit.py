"""``modelyard audit``: the append-only, hash-chained log of everything that was decided and done."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import AsJson, console, emit_json, emit_table, moment, reported
from modelyard.cli.session import platform, platform_of
from modelyard.core.chain import START, Audited, Entry, Head, walk
from modelyard.core.errors import ConfigError, Conflict
from modelyard.ports.ledger import Journal

app = typer.Typer(no_args_is_help=True, help="The append-only, hash-chained log of what was decided and done.")


@app.command()
def show(
    model: Annotated[str | None, typer.Argument(help="Only this model's entries.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Only entries about this version of the model.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only what this person or part did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, as the column shows it.")] = None,
    since: Annotated[str | None, typer.Option(help="From this moment on: 2013-04-09 or 2013-04-09T12:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this moment.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who did what, when and why.

    Example: modelyard audit show flight_delay --version 2 --actor admin
    """
    with reported():
        here = platform() if model is None else platform_of(model)
        if version is not None and model is None:
            raise ConfigError("--version", version, "used together with MODEL, whose version it is")
        subject = None if version is None or model is None else here.ledger.releases.by_version(model, version).digest
        events = here.ledger.journal.audit_log(
            model, limit, actor=actor, action=action, subject=subject,
            since=None if since is None else moment(since, "--since"),
            until=None if until is None else moment(until, "--until"),
        )  # fmt: skip
        if as_json:
            emit_json([{"seq": seq, **event.to_dict()} for seq, event in events])
            return
        rows = [
            (seq, e.at.strftime("%Y-%m-%d %H:%M:%S"), e.actor, e.action, e.model, e.subject[:24], e.reason)
            for seq, e in events
        ]
        columns = ("seq", "at (UTC)", "actor", "action", "model", "subject", "reason")
        emit_table("Audit log", columns, rows, empty="Every decision and transition is entered here.")
        console.print("Next: `modelyard audit verify` checks that no entry was changed.")


@app.command()
def verify(
    head: Annotated[
        list[str] | None, typer.Option(help="A head noted earlier, SEQ:sha256:HEX, to check against; repeatable.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Check an export instead of the database.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find any entry that was changed, removed, moved or inserted, and a tail that was cut off.

    Exits with 1 when something is wrong. Keep the head it prints where those who may write the database may not: it
    stands for the whole log.

    Example: modelyard audit verify --head 120:sha256:6b1f...
    """
    with reported():
        noted = _noted(head or [])
        found = _of_file(file, noted) if file else _of_database(platform().ledger.journal, noted)
        if as_json:
            emit_json({"entries": found.entries, "head": str(found.head), "anchored": found.anchored,
                       "whole": found.whole, "faults": found.faults})  # fmt: skip
        else:
            _tell(found)
        if not found.whole:
            raise typer.Exit(1)


@app.command()
def export(
    to: Annotated[Path | None, typer.Option(help="A new file; by default standard output.")] = None,
) -> None:
    """Write every entry as a line of JSON, with its number and digests: enough to verify it anywhere.

    Example: modelyard audit export --to audit.jsonl
    """
    with reported(), ExitStack() as opened:
        if to is not None and to.exists():
            raise ConfigError("--to", to, "a file that does not exist yet: nothing is overwritten")
        out = sys.stdout if to is None else opened.enter_context(to.open("x", encoding="utf-8"))
        count = 0
        for entry in platform().ledger.journal.audit_chain():
            out.write(json.dumps(entry._asdict(), ensure_ascii=False) + "\n")
            count += 1
        if to is not None:
            console.print(f"Wrote {count} entries. Next: `modelyard audit verify --file {to}`", markup=False)


def _of_database(journal: Journal, noted: dict[int, str]) -> Audited:
    anchors = journal.audit_anchors()
    for seq, digest in noted.items():
        if anchors.setdefault(seq, digest) != digest:
            raise Conflict(f"the head given for entry {seq} is not the one anchored: one of the two is false")
    found = walk(journal.audit_chain(), journal.audit_head(), anchors)
    if found.entries and not anchors:  # whoever cut the tail may have removed the anchors, too: no evidence is no pass
        missing = "no head was ever noted outside the database, or the file of anchors was removed; give one by --head"
        return replace(found, faults=(*found.faults, missing))
    return found


def _of_file(file: Path, noted: dict[int, str]) -> Audited:
    """An export records no head of its own: its last entry is taken for it, and ``noted`` tells a cut tail."""
    last = START
    for entry in _lines(file):
        last = Head(entry.seq, entry.digest)
    return walk(_lines(file), last, noted)


def _lines(file: Path) -> Iterator[Entry]:
    if not file.is_file():
        raise ConfigError("--file", file, "a file that `modelyard audit export` wrote")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                yield Entry(int(entry["seq"]), str(entry["previous"]), str(entry["digest"]), str(entry["text"]))
            except (ValueError, KeyError, TypeError):
                raise ConfigError(
                    f"{file}, line {number}", line[:60], "an entry with seq, previous, digest, text"
                ) from None


def _noted(heads: list[str]) -> dict[int, str]:
    try:
        return dict(Head.parse(text) for text in heads)
    except ValueError as error:
        raise ConfigError("--head", " ".join(heads), str(error)) from None


def _tell(found: Audited) -> None:
    if found.whole:
        console.print(f"The log is whole: {found.entries} entries, anchored up to entry {found.anchored}.")
    else:
        console.print(f"[bold red]The log is not whole[/] ({found.entries} entries):")
        for fault in found.faults:
            console.print(f"  {fault}", markup=False, highlight=False)
    if found.anchored < found.head.seq:
        console.print(f"Entries after {found.anchored} have no anchor: a cut of these would go unseen.")
    console.print(f"Head: {found.head}", markup=False, highlight=False)
    if found.whole:
        console.print("Next: note the head where those who may write the database may not; give it to --head later.")
