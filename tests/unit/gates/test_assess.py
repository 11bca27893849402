"""Mutations: for every gate of the shipped policy, evidence that is damaged in any way never passes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fixtures.gate_evidence import Key, sound
from fixtures.gate_evidence import key as key_of

from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.core.readiness import supervision
from modelyard.core.verdict import Decision, Measurement, Outcome, Severity, Verdict
from modelyard.core.window import Window
from modelyard.gates.assess import assess, evidence_digest
from modelyard.gates.catalogue import GROUPS, MEASUREMENTS
from modelyard.gates.policy import GatePolicy

RELEASE, CHAMPION, OTHER = ("sha256:" + c * 64 for c in "abc")
NOW = datetime(2013, 6, 1, tzinfo=UTC)
WEEK = Window(start=NOW - timedelta(days=7), end=NOW)
SETTINGS = Settings.from_env({"MODELYARD_ROOT": str(Path(__file__).parents[3])})
POLICY = load_policy(GatePolicy, "gates", SETTINGS, "flight_delay")

FIRST = [name for name, gate in POLICY.gates.items() if gate.when == "first_release"]
"""Bars that hold for a first release only."""

APPLYING = [name for name in POLICY.gates if name not in FIRST]


def key(name: str, policy: GatePolicy = POLICY) -> Key:
    """What a gate looks at; several gates may look at the same."""
    return key_of(policy.gates[name])


def evidence(policy: GatePolicy = POLICY) -> dict[Key, Measurement]:
    return sound(policy, RELEASE, CHAMPION, NOW)


def replaced(name: str, **over: object) -> dict[Key, Measurement]:
    """Sound evidence but for what this gate looks at."""
    given = evidence()
    return given | {key(name): raw(given[key(name)], **over)}


def judge(given: dict[Key, Measurement] | list[Measurement], policy: GatePolicy = POLICY, **over: object) -> Decision:
    measurements = list(given.values()) if isinstance(given, dict) else given
    values = {"model": "flight_delay", "release": RELEASE, "champion": CHAMPION, "as_of": NOW} | over
    return assess(policy, measurements, **values)  # type: ignore[arg-type]


def verdict(decision: Decision, name: str) -> Verdict:
    return next(v for v in decision.verdicts if v.check == name)


def test_sound_evidence_is_ready() -> None:
    decision = judge(evidence())
    assert decision.action == "ready"
    assert [v.check for v in decision.verdicts if v.outcome is not Outcome.SUCCESSFUL] == FIRST
    assert supervision(decision.verdicts) == "at_once"
    assert decision.policy == POLICY.digest
    assert decision.subject == RELEASE


Mutation = Callable[[Measurement], list[Measurement]]


def raw(m: Measurement, **over: object) -> Measurement:
    """Past validation: as corrupt memory or a hostile caller would make it."""
    return m.model_copy(update=over)


MUTATIONS: dict[str, Mutation] = {
    "removed": lambda _: [],
    "without a value": lambda m: [raw(m, value=None, why="the task died")],
    "NaN": lambda m: [raw(m, value=float("nan"))],
    "infinite": lambda m: [raw(m, value=float("inf"))],
    "minus infinite": lambda m: [raw(m, value=float("-inf"))],
    "NaN interval": lambda m: [raw(m, low=float("nan"), high=float("nan"))],
    "of another version": lambda m: [raw(m, subject=OTHER)],
    "of the champion": lambda m: [raw(m, subject=CHAMPION)],
    "of no version": lambda m: [raw(m, subject=None)],
    "of the future": lambda m: [raw(m, window=Window(start=NOW, end=NOW + timedelta(days=1)))],
    "ending a second late": lambda m: [raw(m, window=Window(start=WEEK.start, end=NOW + timedelta(seconds=1)))],
    "contradicting": lambda m: [m, raw(m, value=(m.value or 0) * 0.999 + 1e-6)],
    "of another slice": lambda m: [raw(m, slice="carrier=ZZ")],
    "under another name": lambda m: [raw(m, name=m.name + "_")],
    "in other case": lambda m: [raw(m, name=m.name.upper())],
}


def beside(name: str) -> GatePolicy:
    """The policy with what looks at the same as this gate and nothing else, so that a thousand judgements are quick."""
    looking = {n: g for n, g in POLICY.gates.items() if key(n) == key(name)}
    return POLICY.model_copy(update={"gates": looking, "score": None})


@pytest.mark.parametrize("name", APPLYING)
def test_damaged_evidence_never_passes(name: str) -> None:
    policy = beside(name)
    (good,) = evidence(policy).values()
    assert verdict(judge([good], policy), name).outcome is Outcome.SUCCESSFUL
    blocks = any(policy.gates[n].severity is Severity.BLOCKER for n in policy.gates if n in APPLYING)
    for mutation, damage in MUTATIONS.items():
        decision = judge(damage(good), policy)
        found = verdict(decision, name)
        assert found.outcome in {Outcome.INCONCLUSIVE, Outcome.ERROR}, f"{mutation}: {found.reason}"
        assert (decision.action == "blocked") == blocks, mutation
        assert found.reason.endswith(policy.gates[name].without_evidence), mutation
        assert Decision.from_json(decision.to_json()).digest == decision.digest, mutation


@pytest.mark.parametrize("name", [n for n in APPLYING if POLICY.gates[n].severity is not Severity.BLOCKER])
def test_one_warning_alone_stops_no_release(name: str) -> None:
    decision = judge([m for k, m in evidence().items() if k != key(name)])
    others = [POLICY.gates[n] for n in APPLYING if key(n) == key(name)]
    if all(gate.severity is not Severity.BLOCKER for gate in others):
        assert decision.action == "ready", decision.reasons


@pytest.mark.parametrize("name", APPLYING)
def test_a_value_beyond_the_bound_fails(name: str) -> None:
    gate = POLICY.gates[name]
    assert gate.condition is not None
    down = gate.condition.direction in {"at_least", "above"}
    step = max(0.001, abs(gate.condition.bound) * 0.001)
    value = gate.condition.bound + (-step if down else step)
    given = [raw(m, value=value, low=value, high=value) for m in evidence(beside(name)).values()]
    found = verdict(judge(given, beside(name)), name)
    assert found.outcome is Outcome.FAILED
    assert f"{gate.condition.bound:g}" in found.reason
    assert found.reason.endswith(gate.to_do)


@pytest.mark.parametrize("name", [n for n in APPLYING if POLICY.gates[n].min_n])
def test_too_few_rows_are_inconclusive(name: str) -> None:
    few = replaced(name, n=POLICY.gates[name].min_n - 1)
    assert verdict(judge(few), name).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("name", [n for n in APPLYING if POLICY.gates[n].uses in {"low", "high"}])
def test_without_an_interval_a_bound_on_its_end_is_inconclusive(name: str) -> None:
    assert verdict(judge(replaced(name, low=None, high=None)), name).outcome is Outcome.INCONCLUSIVE


def alone() -> list[Measurement]:
    """Evidence of a release that has nothing to be compared with."""
    return [m for (name, _), m in evidence().items() if not MEASUREMENTS[name].compares]


@pytest.mark.parametrize("name", FIRST)
class TestBarsForAFirstRelease:
    def test_hold_for_a_first_release(self, name: str) -> None:
        assert verdict(judge(alone(), champion=None), name).outcome is Outcome.SUCCESSFUL
        low = [raw(m, value=0.57, low=0.56, high=0.58) if (m.name, m.slice) == key(name) else m for m in alone()]
        assert judge(low, champion=None).action == "blocked"

    def test_are_not_applicable_later_and_never_called_passed(self, name: str) -> None:
        found = verdict(judge(replaced(name, value=0.57, low=0.56, high=0.58)), name)
        assert (found.outcome, found.severity) == (Outcome.INCONCLUSIVE, Severity.INFORMATIONAL)
        assert found.reason.startswith("not applicable")


@pytest.mark.parametrize("name", [n for n, g in POLICY.gates.items() if g.measured.compares])
class TestComparisons:
    def test_with_another_version_than_the_champion_is_an_error(self, name: str) -> None:
        for variant in (OTHER, ""):
            given = [raw(m, variant=variant) for m in evidence(beside(name)).values()]
            assert verdict(judge(given, beside(name)), name).outcome is Outcome.ERROR

    def test_on_a_first_release_it_is_not_applicable_and_never_called_passed(self, name: str) -> None:
        decision = judge([], beside(name), champion=None)
        found = verdict(decision, name)
        assert decision.action == "ready"
        assert (found.outcome, found.severity) == (Outcome.INCONCLUSIVE, Severity.INFORMATIONAL)
        assert found.reason.startswith("not applicable")
        assert any(name in reason for reason in decision.reasons)

    def test_a_policy_may_require_a_champion_even_then(self, name: str) -> None:
        asking = beside(name).model_copy(update={"first_release": "require"})
        found = verdict(judge(evidence(asking), asking, champion=None), name)
        assert (found.outcome, found.severity) == (Outcome.INCONCLUSIVE, POLICY.gates[name].severity)

    def test_missing_evidence_is_not_excused_where_there_is_a_champion(self, name: str) -> None:
        found = verdict(judge([], beside(name)), name)
        assert (found.outcome, found.severity) == (Outcome.INCONCLUSIVE, POLICY.gates[name].severity)
        assert not found.reason.startswith("not applicable")


FAIR = {"direction": "at_least", "bound": 0.5}


def with_gate(**gate: object) -> GatePolicy:
    floor = {"category": "quality", "measurement": "brier", "condition": {"direction": "at_most", "bound": 0.2}}
    return GatePolicy.model_validate({"first_release": "skip", "gates": {"floor": floor, "it": gate}})


class TestRegression:
    POLICY = with_gate(category="quality", measurement="auc", regression={"better": "higher", "tolerance": 0.05})

    def run(self, value: float, champion: float | None) -> Verdict:
        about = evidence(with_gate(category="quality", measurement="auc", condition=FAIR))
        given = [about["brier", ""], raw(about["auc", ""], value=value, low=None, high=None)]
        if champion is not None:
            given.append(raw(given[1], subject=CHAMPION, value=champion))
        return verdict(judge(given, self.POLICY), "it")

    @pytest.mark.parametrize(("value", "outcome"), [(0.76, Outcome.SUCCESSFUL), (0.75, Outcome.FAILED)])
    def test_a_twentieth_of_the_champions_value_is_tolerated(self, value: float, outcome: Outcome) -> None:
        assert self.run(value, 0.8).outcome is outcome

    def test_without_the_champions_evidence_it_is_inconclusive(self) -> None:
        found = self.run(0.9, None)
        assert found.outcome is Outcome.INCONCLUSIVE
        assert found.reason.startswith("champion: no evidence")


class TestDryRunAndSeverity:
    def test_a_dry_run_records_and_does_not_block(self) -> None:
        policy = with_gate(
            category="quality", measurement="auc", condition={"direction": "at_least", "bound": 0.9}, dry_run=True
        )
        given = evidence(policy)
        weak = given | {("auc", ""): raw(given["auc", ""], value=0.75, low=0.75, high=0.75)}
        decision = judge(weak, policy)
        assert decision.action == "ready"
        assert verdict(decision, "it").outcome is Outcome.FAILED
        assert verdict(decision, "it").dry_run

    def test_a_warning_is_told_and_does_not_block(self) -> None:
        decision = judge(replaced("overfitting", value=0.2, low=0.1, high=0.3))
        assert decision.action == "ready"
        assert any("overfitting failed" in reason for reason in decision.reasons)

    def test_no_score_outweighs_a_blocker(self) -> None:
        decision = judge([m for k, m in evidence().items() if k != key("latency")])
        assert decision.action == "blocked"
        assert decision.reasons[0].startswith("latency inconclusive")


def test_impossible_values_are_errors() -> None:
    decision = judge(replaced("auc_floor", value=1.2, high=1.3))
    assert verdict(decision, "auc_floor").outcome is Outcome.ERROR


def test_a_value_outside_its_own_interval_is_an_error() -> None:
    decision = judge(replaced("auc_floor", value=0.99, low=0.6, high=0.9))
    assert verdict(decision, "auc_floor").outcome is Outcome.ERROR


def test_the_order_of_evidence_changes_nothing_and_any_change_of_it_does() -> None:
    given = list(evidence().values())
    assert judge(given).digest == judge(given[::-1]).digest
    changed = [raw(m, n=m.n + 1) for m in given]
    assert evidence_digest(changed) != evidence_digest(given)
    assert judge(changed).digest != judge(given).digest


def test_no_evidence_at_all_is_blocked() -> None:
    assert judge([]).action == "blocked"


class TestWithoutAChampion:
    def test_a_lost_one_is_no_first_release(self) -> None:
        decision = judge(alone(), champion=None, had_champion=True)
        assert decision.action == "blocked"
        found = verdict(decision, "logloss_not_worse")
        assert (found.outcome, found.severity) == (Outcome.INCONCLUSIVE, Severity.BLOCKER)
        assert "missing from the ledger" in found.reason
        assert verdict(decision, "auc_first").reason.startswith("not applicable")

    def test_an_empty_registry_is(self) -> None:
        assert judge(alone(), champion=None, had_champion=False).action == "ready"


class TestExemptions:
    def test_are_not_applicable_say_why_and_do_not_weigh(self) -> None:
        gates = {n: g.model_copy(update=EXEMPT) if n == "demographic_parity" else g for n, g in POLICY.gates.items()}
        policy = POLICY.model_copy(update={"gates": gates})
        decision = judge([m for k, m in evidence().items() if k != key("demographic_parity")], policy)
        found = verdict(decision, "demographic_parity")
        assert found.reason == "not applicable: the policy exempts this model: machines, no people"
        assert verdict(decision, "score_model_validation").measurements[0].value == 100


EXEMPT = {"when": "never", "because": "machines, no people"}


class TestProfiles:
    def test_choose_the_gates_and_come_cheap_first(self) -> None:
        assert set(POLICY.of("pull_request")) == {"dependency_audit", "licences_accepted", "licences_named"}
        assert set(POLICY.of("canary")) < set(POLICY.of("candidate")) == set(POLICY.of("nightly")) == set(POLICY.gates)
        costs = [GROUPS.index(gate.measured.group) for gate in POLICY.of("candidate").values()]
        assert costs == sorted(costs)
        assert len(set(costs)) > 5

    def test_judge_only_their_own_and_score_only_where_every_area_is_seen(self) -> None:
        decision = judge(evidence(), profile="canary")
        assert [v.check for v in decision.verdicts] == list(POLICY.of("canary"))
        assert decision.action == "ready"
        assert judge([], profile="canary").action == "blocked"


def test_judging_again_gives_the_same_decision() -> None:
    first = judge(evidence())
    assert judge(evidence()).to_json() == first.to_json()
    assert Decision.from_json(first.to_json()) == first
