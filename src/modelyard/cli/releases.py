"""``modelyard release``: one release, verified, told apart from another, and reported on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import AsJson, console, emit_json, emit_table, reported
from modelyard.cli.session import platform
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError
from modelyard.flows import releases as flows
from modelyard.flows.reports import keep as keep_document
from modelyard.release.report import Format, render

app = typer.Typer(help="One release: show it, verify it, tell it apart from another.", no_args_is_help=True)
Name = Annotated[
    str, typer.Argument(help="A digest or its beginning, MODEL@VERSION, or MODEL@champion, @previous, @challenger.")
]


@app.command()
def show(release: Name, as_json: AsJson = False) -> None:
    """Show the manifest of a release: everything that changes its behaviour, by digest.

    Example: modelyard release show flight_delay@champion
    """
    with reported():
        here = platform()
        found = flows.get(here, release)
        state, bundle = here.ledger.releases.state(found.digest), here.ledger.releases.bundle(found.digest)
        if as_json:
            emit_json({"digest": found.digest, "state": state, "bundle": bundle, **found.to_dict()})
            return
        body = found.to_dict()
        mappings = {"files", "parts", "metrics", "overrides"}
        rows = [("digest", found.digest), ("state", state), ("bundle", bundle)]
        rows += [(key, value) for key, value in body.items() if key not in mappings]
        rows += [(f"{group}.{key}", value) for group in sorted(mappings) for key, value in sorted(body[group].items())]
        title = f"{found.model} {found.semver} (version {found.version})"
        emit_table(title, ("field", "value"), rows, empty="")
        console.print(f"Next: `modelyard release verify {found.model}@{found.version}`", markup=False, highlight=False)


@app.command()
def verify(release: Name, as_json: AsJson = False) -> None:
    """Recompute every digest of a release's manifest and bundle against the ledger, and verify what must be signed:
    the manifest, gate decisions, answers, how rollouts ended. Exits with 1 if anything is wrong.

    Example: modelyard release verify flight_delay@champion
    """
    with reported():
        here = platform()
        found = flows.verify(here, flows.find(here, release))
        if as_json:
            emit_json({**found.to_dict(), "whole": not found.faults})
        elif found.faults:
            rows = [(fault,) for fault in found.faults]
            emit_table(f"Release {short(found.release)} at {found.bundle} is not what was recorded", ("wrong",), rows,
                       empty="")  # fmt: skip
            console.print("Next: do not serve it; train a new version, or bring the bundle back from a copy. "
                          "`modelyard release sign` signs what only lacks a signature.")  # fmt: skip
        else:
            console.print(
                f"{found.release} is whole: the manifest and {found.files} files at {found.bundle} are as recorded, "
                f"and signed, as are {found.attestations} attestations.",
                markup=False, highlight=False,
            )  # fmt: skip
        if found.faults:
            raise typer.Exit(1)


@app.command()
def sign(
    release: Name,
    by: Annotated[str, typer.Option(help="Who signs: it is entered in the audit log.")],
    why: Annotated[str, typer.Option(help="Why it is signed by hand.")],
) -> None:
    """Sign a release by hand with the present key: after the key was changed, or where it was never signed.

    Also signs what is on record about it (decisions, answers) and is not signed, marked as done afterwards.

    Example: modelyard release sign flight_delay@champion --by ann --why "new key"
    """
    with reported():
        here = platform()
        done = flows.sign(here, flows.find(here, release), by=by, why=why, now=datetime.now(UTC))
        said = f"Signed with key {short(here.signer.key)}: {', '.join(done)}." if done else "All was signed already."
        console.print(said, markup=False, highlight=False)
        console.print(f"Next: `modelyard release verify {release}`", markup=False, highlight=False)


@app.command()
def attestations(release: Name, as_json: AsJson = False) -> None:
    """Show what was signed about a release; with --json the DSSE envelopes, which any in-toto verifier reads.

    Example: modelyard release attestations flight_delay@champion
    """
    with reported():
        here = platform()
        kept = here.ledger.journal.attestations(flows.find(here, release))
        if as_json:
            emit_json([json.loads(one.envelope) for one in kept])
            return
        rows = [(f"{one.at:%Y-%m-%d %H:%M:%S}", one.kind, one.actor, short(one.cites)) for one in kept]
        emit_table("Attestations", ("at (UTC)", "kind", "by", "cites"), rows, empty="Nothing was decided about it yet.")
        console.print(f"Next: `modelyard release verify {release}` verifies them.", markup=False, highlight=False)


@app.command()
def reproduce(release: Name, as_json: AsJson = False) -> None:
    """Make a release again from what its manifest names and compare, on the CPU bit by bit; exits with 1 if it differs.

    Nothing is recorded, in MLflow or elsewhere. Takes as long as the training did.

    Example: modelyard release reproduce flight_delay@champion
    """
    from modelyard.flows.reproduce import reproduce as again

    with reported():
        here = platform()
        found = again(here, flows.get(here, release))
        if as_json:
            emit_json({**found.to_dict(), "same": found.same})
        else:
            rows = [(c.what, _shown(c.recorded), _shown(c.rebuilt), c.why or c.result) for c in found.results]
            emit_table(f"{short(found.release)} made again ({found.device})", ("what", "recorded", "now", "result"),
                       rows, empty="")  # fmt: skip
            other = [(c.what, _shown(c.recorded), _shown(c.rebuilt)) for c in found.inputs if c.result == "differs"]
            emit_table("What it is made from", ("what", "recorded", "now"), other, empty="All of it is as recorded.")
            console.print("It comes out the same." if found.same else "It does not come out the same.")
        if not found.same:
            raise typer.Exit(1)


def _shown(value: str) -> str:
    return short(value) if value.startswith("sha256:") else value


@app.command()
def diff(before: Name, after: Name, as_json: AsJson = False) -> None:
    """Say what changed from one release to another: data, features, code, numbers, overrides, signature.

    Example: modelyard release diff flight_delay@previous flight_delay@champion
    """
    with reported():
        here = platform()
        old, new = flows.get(here, before), flows.get(here, after)
        changes = flows.diff(here, old, new)
        if as_json:
            emit_json({"before": old.digest, "after": new.digest, "changes": changes})
            return
        title = f"From {old.model} {old.semver} ({short(old.digest)}) to {new.model} {new.semver} ({short(new.digest)})"
        emit_table(title, ("area", "what changed"), [(c.area, c.words) for c in changes], empty="They are the same.")


@app.command()
def report(
    release: Name,
    to: Annotated[Path, typer.Option(help="The file: .html or .md; one that is there is replaced.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep it with the release's MLflow run too.")] = False,
) -> None:
    """Write a report for everybody who has to trust a release: changes, evidence, gates, approvals, way back, risks.

    Example: modelyard release report flight_delay@champion --to report.html
    """
    from modelyard.flows.release_report import report as gather

    with reported():
        form = _format(to)
        here = platform()
        found = flows.get(here, release)
        to.write_text(render(gather(here, found, datetime.now(UTC)), form), encoding="utf-8")
        if keep:
            keep_document(here, found, to, "report")
        console.print(
            f"Wrote {to}{', and kept it with the MLflow run' if keep else ''}.", markup=False, highlight=False
        )


def _format(to: Path) -> Format:
    match to.suffix:
        case ".html":
            return "html"
        case ".md":
            return "md"
    raise ConfigError("--to", to, "a file that ends in .html or .md")
