"""``modelyard gates``: what the gates would say of a release now, in any profile, without recording it."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, emit_table, reported
from modelyard.cli.output import moment as given
from modelyard.cli.session import platform
from modelyard.core.errors import ConfigError, GateBlocked

Version = Annotated[int, typer.Argument(help="The release's version.")]


def gates(
    model: Model,
    version: Version,
    profile: Annotated[
        str, typer.Option(help="pull_request, nightly, candidate, canary or post_release.")
    ] = "candidate",
    as_of: Annotated[str | None, typer.Option(help="Moment in ISO 8601; by default the release's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a release by its evidence, measuring it where there is none yet; nothing is decided by it.

    Ends with 1 where a blocker stands. Example: modelyard gates flight_delay 1 --profile nightly
    """
    with reported():
        from modelyard.flows import evaluate, gate
        from modelyard.gates.assess import BLOCKED
        from modelyard.gates.policy import PROFILES

        chosen = next((known for known in PROFILES if known == profile), None)
        if chosen is None:
            raise ConfigError("--profile", profile, PROFILES)
        here = platform()
        release = here.ledger.releases.by_version(model, version)
        moment = given(as_of) if as_of else release.as_of
        evidence = evaluate.evaluate(here, release.digest, as_of=moment)
        decision = gate.decide(here, release, evidence, moment, profile=chosen)
        if as_json:
            emit_json(decision)
        else:
            rows = [(v.check, v.category, v.severity.value, v.outcome.value, v.reason) for v in decision.verdicts]
            emit_table(f"{model} version {version}: {decision.action}", _COLUMNS, rows, empty="no gate of this profile")
            console.print("Nothing was recorded.", highlight=False)
        if decision.action == BLOCKED:
            raise GateBlocked("; ".join(decision.reasons))


_COLUMNS = ("gate", "category", "severity", "outcome", "reason")
