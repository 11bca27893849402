"""Replays a model's year under every retraining policy, on the same fits.

The platform's model and a plain rival are fitted at the start of every week (``fits``); each policy then walks through
the weeks and takes the fits that it would have made (``simulate``). What is tested was not tuned on: the governor's
numbers were chosen on weeks 6 to 26 (docs/drift-replay.md), and the weeks after ``TUNED_UNTIL`` are reported alone too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modelyard.config.policies import load_policy
from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.drift.policy import DriftPolicy
from modelyard.drift.recalibrate import RecalibrationRule, SliceRule
from modelyard.flows.replay import summary
from modelyard.flows.replay.families import FAMILIES, SEEDED
from modelyard.flows.replay.fits import PROBE, Fits
from modelyard.flows.replay.guard import Guard, Patches
from modelyard.flows.replay.history import Past, read_past
from modelyard.flows.replay.policies import (
    AucDrop,
    Calendar,
    CalibrationGap,
    GapCusum,
    Governor,
    NaivePsi,
    Policy,
)
from modelyard.flows.replay.psi import Distances
from modelyard.flows.replay.simulate import Walk, walk
from modelyard.flows.replay.stream import Stream
from modelyard.gates.policy import GatePolicy

STARTS = (14, 18, 20, 24, 28)
SEEDS = 10
TUNED_UNTIL = 26
GAIN = "gain"
"""The rule of ``policies/drift.yaml`` that is replayed as ``governor``, in force or tried beside the one in force."""

GATE = "logloss_not_worse"
"""The gate of ``policies/gates.yaml`` that a refit must pass here."""

Say = Callable[[str], None]
Make = Callable[[], Policy]


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy to be replayed: what makes it, how the model is recalibrated, and what guards its refits."""

    make: Make
    patches: Patches
    guard: Guard | None = None


@dataclass(frozen=True)
class Plan:
    """What to replay: from which weeks, which families, how many seeds of those that have them, to which week.

    ``policies``: the names of those that are wanted besides weekly retraining; empty: all.
    """

    starts: tuple[int, ...] = STARTS
    families: tuple[str, ...] = tuple(FAMILIES)
    seeds: int = SEEDS
    until: int | None = None
    policies: tuple[str, ...] = ()


def replay(settings: Settings, model: str, plan: Plan, say: Say) -> dict[str, Any]:
    """The rows of every policy, family and start; their means over starts; both again for the untouched weeks.

    Fits are kept under ``<home>/replay/<model>``; an interrupted replay goes on with those it had made.

    Raises:
        ConfigError: a family, a policy, a start or an end that cannot be replayed, or no rule on the gain to replay.
    """
    project = load_project(model, settings)
    policies = load_policy(DriftPolicy, "drift", settings, model)
    past = read_past(project)
    until = _checked(plan, past)
    fits = Fits(past, settings.home / "replay" / model, say)
    fits.make(_wanted(plan, until))
    rule, slices = RecalibrationRule(), SliceRule()
    guard = guarded(load_policy(GatePolicy, "gates", settings, model), project)
    known = catalogue(policies, _distances(past), guard)
    wanted = _chosen(plan, known)
    walks: dict[summary.Key, list[Walk]] = {}
    for family in plan.families:
        for seed in range(_seeds(plan, family)):
            stream, probe = Stream(fits, family, seed, rule, slices), Stream(fits, PROBE, 0, rule)
            for name, start, made in _walks(plan, wanted, stream, probe, until):
                walks.setdefault((name, family, start), []).append(made)
            say(f"walked: {family}, seed {seed}")
    untouched = TUNED_UNTIL + 1
    later = {k: w for k, w in walks.items() if k[2] <= until} if until >= untouched else {}
    return {
        "model": model,
        "rows": summary.rows(walks, 0, until),
        "means": summary.means(walks, 0, until),
        "untouched": {"rows": summary.rows(later, untouched, until), "means": summary.means(later, untouched, until)},
        "policies": list(known),
        "policy": policies.digest,
        "data": past.digest,
        "guard": asdict(guard),
        "recalibration": {"shift": rule.model_dump(), "slices": slices.model_dump()},
    }


def catalogue(policies: DriftPolicy, distances: Distances, guard: Guard) -> dict[str, Entry]:
    """Every policy by name, with how the model is recalibrated between its refits and what guards these.

    Raises:
        ConfigError: ``policies/drift.yaml`` has no rule that retrains on the gain, in force or beside.
    """
    ours = governed(policies)
    gain_alone = ours.model_copy(update={"gain": ours.gain.model_copy(update={"gap_above": None})})
    plain: dict[str, Make] = {
        "static": lambda: Calendar(None),
        "weekly": lambda: Calendar(1),
        "every_4_weeks": lambda: Calendar(4),
        "naive_psi": lambda: NaivePsi(distances),
        "auc_drop": AucDrop,
        "calibration_gap": CalibrationGap,
        "gap_cusum": GapCusum,
    }
    also = ("static", "weekly", "every_4_weeks", "calibration_gap", "gap_cusum")
    return {
        **{name: Entry(make, "none") for name, make in plain.items()},
        "governor": Entry(lambda: Governor(ours), "slices", guard),
        "governor with every refit taken": Entry(lambda: Governor(ours), "slices"),
        "gain alone + slices": Entry(lambda: Governor(gain_alone), "slices"),
        "gain alone + shift": Entry(lambda: Governor(gain_alone), "shift"),
        "governor without recalibration": Entry(lambda: Governor(ours), "none", guard),
        **({} if ours == policies else {"policy in force": Entry(lambda: Governor(policies), "none")}),
        **{f"{name} + shift": Entry(plain[name], "shift") for name in also},
        **{f"{name} + slices": Entry(plain[name], "slices") for name in also[:3]},
    }


def _chosen(plan: Plan, known: Mapping[str, Entry]) -> dict[str, Entry]:
    for name in plan.policies:
        if name not in known:
            raise ConfigError("policy", name, tuple(known))
    return {name: entry for name, entry in known.items() if not plan.policies or name in {*plan.policies, summary.BASE}}


def guarded(policy: GatePolicy, project: Project) -> Guard:
    """The guard of a model's refits: the gate's bound and the days held out are those of the platform.

    Raises:
        ConfigError: ``policies/gates.yaml`` has no such gate with a condition.
    """
    gate = policy.gates.get(GATE)
    if gate is None or gate.condition is None:
        raise ConfigError(
            f"gates.{GATE}", sorted(policy.gates), f"{GATE} with a condition", where="policies/gates.yaml"
        )
    return Guard(days=int(project.params["evaluation_days"]), worse_by=gate.condition.bound)


def governed(policies: DriftPolicy) -> DriftPolicy:
    """The rule that retrains on the estimated gain, wherever it stands."""
    if policies.retrain_on == GAIN:
        return policies
    if GAIN not in policies.beside:
        raise ConfigError("dry_run", sorted(policies.beside), GAIN, where="policies/drift.yaml")
    return policies.beside[GAIN]


def _walks(
    plan: Plan, policies: Mapping[str, Entry], stream: Stream, probe: Stream, until: int
) -> Iterator[tuple[str, int, Walk]]:
    for name, entry in policies.items():
        for start in plan.starts:
            span = {"start": start, "until": until}
            yield name, start, walk(stream, probe, entry.make(), **span, patches=entry.patches, guard=entry.guard)


_KNOWN: dict[str, Distances] = {}


def _distances(past: Past) -> Distances:
    """One for all walks: they share most of the pairs."""
    return _KNOWN.setdefault(past.digest, Distances(past, float(past.project.params["window_days"])))


def _wanted(plan: Plan, until: int) -> list[tuple[str, int, int]]:
    weeks = range(min(plan.starts), until + 1)
    probes = [(PROBE, 0, week) for week in weeks]
    return probes + [(f, seed, week) for f in plan.families for seed in range(_seeds(plan, f)) for week in weeks]


def _seeds(plan: Plan, family: str) -> int:
    return plan.seeds if family in SEEDED else 1


def _checked(plan: Plan, past: Past) -> int:
    last = past.weeks - 1
    until = last if plan.until is None else plan.until
    for family in plan.families:
        if family not in FAMILIES:
            raise ConfigError("family", family, tuple(FAMILIES))
    if not 0 < until <= last:
        raise ConfigError("until", until, f"a week from 1 to {last}, the last whole week of the source")
    for start in plan.starts:
        if not 1 <= start <= until:
            raise ConfigError("start", start, f"a week from 1 to {until}")
    if plan.seeds < 1:
        raise ConfigError("seeds", plan.seeds, "a number from 1")
    return until
