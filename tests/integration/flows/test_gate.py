"""The gates' flow on a real ledger: what is recorded, what stops the line, what a repeated task does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.flows.decisions import MODEL, NOW, Here, evidence, here

from modelyard.core.errors import ConfigError, Conflict, GateBlocked, IntegrityError, NotFound
from modelyard.core.window import Window
from modelyard.evaluation.evidence import Evidence
from modelyard.flows import gate

if TYPE_CHECKING:
    from sqlalchemy import Engine


@pytest.fixture
def platform(ledger_engine: Engine, tmp_path: Path) -> Here:
    return here(ledger_engine, tmp_path)


def test_a_first_release_with_sound_evidence_is_ready(platform: Here) -> None:
    release = platform.release()
    decision = gate.assess(platform, release.digest, evidence(release), NOW)
    assert decision.action == "ready"
    assert platform.ledger.releases.state(release.digest) == "ready"
    assert platform.ledger.journal.decisions(MODEL, "gates") == [decision]
    assert platform.actions() == ["gates.ready"]


def test_the_same_evidence_again_records_nothing_new(platform: Here) -> None:
    release = platform.release()
    decisions = {gate.assess(platform, release.digest, evidence(release), NOW).digest for _ in range(3)}
    assert len(decisions) == 1
    assert platform.actions() == ["gates.ready"]


def test_the_log_says_when_it_was_done_and_not_only_as_of_when(platform: Here) -> None:
    release, now = platform.release(), NOW + timedelta(days=4000)
    for _ in range(2):
        with pytest.raises(GateBlocked):
            gate.assess(platform, release.digest, [], NOW, now=now)
        now += timedelta(minutes=1)
    assert platform.actions() == ["gates.blocked"]
    _, event = platform.ledger.journal.audit_log(MODEL)[-1]
    [(_, _, incident)] = platform.ledger.journal.incidents(MODEL, open_only=True)
    assert event.at == incident.opened_at == NOW + timedelta(days=4000)
    assert event.detail["as_of"] == NOW.isoformat()


def test_a_verdict_that_recurs_is_the_one_in_force_again(platform: Here) -> None:
    release = platform.release()
    sound, weak = evidence(release), evidence(release, brier=0.3)
    first = gate.assess(platform, release.digest, sound, NOW)
    with pytest.raises(GateBlocked):
        gate.assess(platform, release.digest, weak, NOW)
    assert gate.assess(platform, release.digest, sound, NOW) == first
    assert platform.ledger.journal.decisions(MODEL, "gates", release.digest)[-1] == first
    assert platform.actions() == ["gates.ready", "gates.blocked", "gates.ready"]


def test_a_blocker_stops_the_line_and_says_why(platform: Here) -> None:
    release = platform.release()
    with pytest.raises(GateBlocked, match=r"auc_first failed: auc 0\.56, must be at least 0\.6"):
        gate.assess(platform, release.digest, evidence(release, auc=0.56), NOW)
    assert platform.ledger.releases.state(release.digest) == "candidate"
    assert platform.ledger.journal.decisions(MODEL, "gates")[0].action == "blocked"
    assert platform.open_incidents() == [f"gates:{release.digest}"]
    assert platform.actions() == ["gates.blocked"]


def test_without_a_key_nothing_is_decided(platform: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    release = platform.release()

    def signer(_: object) -> None:
        raise ConfigError("MODELYARD_SIGNING_KEY_FILE", "gone", "a file")

    monkeypatch.setattr(type(platform), "signer", property(signer))
    with pytest.raises(ConfigError):
        gate.assess(platform, release.digest, evidence(release), NOW)
    assert platform.ledger.journal.decisions(MODEL, "gates", release.digest) == []


def test_no_evidence_blocks(platform: Here) -> None:
    with pytest.raises(GateBlocked, match="no evidence"):
        gate.assess(platform, platform.release().digest, [], NOW)


def test_better_evidence_mends_it_and_worse_evidence_unmakes_it(platform: Here) -> None:
    release = platform.release()
    with pytest.raises(GateBlocked):
        gate.assess(platform, release.digest, [], NOW)
    gate.assess(platform, release.digest, evidence(release), NOW)
    assert platform.open_incidents() == []
    with pytest.raises(GateBlocked):
        gate.assess(platform, release.digest, evidence(release, brier=0.3), NOW)
    assert platform.ledger.releases.state(release.digest) == "candidate"


def test_a_refit_is_compared_with_the_champion(platform: Here) -> None:
    champion, release = platform.release(), platform.release(2)
    platform.crown(champion)
    decision = gate.assess(platform, release.digest, evidence(release, champion), NOW)
    assert decision.action == "ready"
    assert champion.digest in decision.evidence
    with pytest.raises(GateBlocked, match="logloss_not_worse inconclusive: no evidence"):
        gate.assess(platform, release.digest, evidence(release), NOW)


def test_a_comparison_with_yesterdays_champion_does_not_count(platform: Here) -> None:
    old, new, release = platform.release(), platform.release(2), platform.release(3)
    platform.crown(old)
    platform.crown(new)
    with pytest.raises(GateBlocked, match="not with the champion"):
        gate.assess(platform, release.digest, evidence(release, old), NOW)


def test_a_quarantined_release_stays_so_whatever_its_evidence(platform: Here) -> None:
    release = platform.release()
    platform.ledger.releases.mark(release.digest, "quarantined", "rolled back")
    with pytest.raises(Conflict, match="quarantined"):
        gate.assess(platform, release.digest, evidence(release), NOW)
    assert platform.ledger.releases.state(release.digest) == "quarantined"


def test_an_unknown_release_is_refused(platform: Here) -> None:
    with pytest.raises(NotFound):
        gate.assess(platform, "sha256:" + "9" * 64, [], NOW)


class TestKeptEvidence:
    def keep(self, platform: Here, kept: Evidence, name: str | None = None) -> str:
        folder = Path(platform.settings.artifacts_uri.removeprefix("file://")) / MODEL / "evidence"
        folder.mkdir(parents=True, exist_ok=True)
        digest = name or kept.digest
        (folder / f"{digest.removeprefix('sha256:')}.json").write_text(kept.to_json())
        return digest

    def of(self, platform: Here, version: int = 1, **over: float) -> Evidence:
        release = platform.release(version)
        return Evidence(
            model=MODEL,
            release=release.digest,
            champion=None,
            as_of=NOW,
            snapshot=release.snapshot,
            window=Window.parse("2013-04-28/2013-05-01"),
            rows=release.snapshot,
            measurements=tuple(evidence(release, **over)),
        )

    def test_is_read_and_cited_by_its_digest(self, platform: Here) -> None:
        kept = self.of(platform)
        decision = gate.assess(platform, kept.release, self.keep(platform, kept), NOW)
        assert decision.evidence == (kept.digest,)

    def test_that_was_changed_is_refused(self, platform: Here) -> None:
        kept = self.of(platform)
        self.keep(platform, self.of(platform, auc=0.99), name=kept.digest)
        with pytest.raises(IntegrityError, match="was changed"):
            gate.assess(platform, kept.release, kept.digest, NOW)

    def test_about_another_release_is_refused(self, platform: Here) -> None:
        kept = self.of(platform, version=2)
        with pytest.raises(IntegrityError, match="is about release"):
            gate.assess(platform, platform.release().digest, self.keep(platform, kept), NOW)

    def test_that_does_not_exist_is_refused(self, platform: Here) -> None:
        with pytest.raises(NotFound, match="evidence"):
            gate.assess(platform, platform.release().digest, "sha256:" + "7" * 64, NOW)
