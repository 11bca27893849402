"""The estimate of the gain: which steps are measured, and that it tells a change from none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import EvidenceMissing
from modelyard.core.window import Window
from modelyard.data.frames import canonical, content_digest, write_parquet
from modelyard.drift.policy import GainRule
from modelyard.flows.gain import _compare, _fit, measure_gains, steps
from modelyard.flows.probe import fit_probe

ROOT = Path(__file__).parents[3]
TRAINED = datetime(2013, 4, 9, tzinfo=UTC)
WEEK, HOUR = timedelta(weeks=1), timedelta(hours=1)
RULE = GainRule()
CHAMPION = SimpleNamespace(digest="sha256:" + "a" * 64, version=1)


class Spec:
    """As much of a ``ModelSpec`` as a probe reads."""

    def of(self, *, kind: str) -> tuple[str, ...]:
        return {"numeric": ("x",), "categorical": ("carrier",)}[kind]


PROJECT = SimpleNamespace(name="made", spec=Spec(), params={"window_days": 28})


def rows(turned: bool) -> pd.DataFrame:
    """Seven weeks around the training; from it on, ``x`` means the opposite if ``turned``."""
    n = 7 * 1500
    rng = np.random.default_rng(2)
    times = pd.to_datetime(TRAINED - 4 * WEEK) + pd.to_timedelta(np.arange(n) * 7 * 7 * 86_400 / n, unit="s")
    x = rng.normal(size=n)
    sign = np.where((times >= pd.Timestamp(TRAINED)) & turned, -1.0, 1.0)
    label = (rng.random(n) < 1 / (1 + np.exp(-sign * x))).astype(float)
    carrier = rng.choice(["UA", "B6", None], n)
    known = times + pd.Timedelta(hours=2)
    return pd.DataFrame({"event_time": times, "known_at": known, "label": label, "x": x, "carrier": carrier})


def gain(turned: bool) -> float:
    given = rows(turned)
    window = Window(start=TRAINED + WEEK, end=TRAINED + 2 * WEEK)
    found = _compare(PROJECT, CHAMPION, given, _fit(PROJECT, given, TRAINED), window)
    assert found.n == pytest.approx(1500, abs=1)
    assert found.value is not None
    return found.value


def test_only_settled_steps_are_measured_and_the_first_has_no_newer_fit(tmp_path: Path) -> None:
    assert steps(TRAINED, TRAINED + WEEK + timedelta(hours=11), RULE, 12) == ()
    first = Window(start=TRAINED, end=TRAINED + WEEK)
    assert steps(TRAINED, TRAINED + WEEK + timedelta(hours=12), RULE, 12) == (first,)
    assert len(steps(TRAINED, TRAINED + 10 * WEEK, RULE, 12)) == 9
    platform = Platform(tmp_path, turned=False)
    assert measure_gains(platform, platform.champion(), RULE, (), TRAINED + WEEK + timedelta(hours=12), 12) == ()


def test_a_change_is_a_gain_and_none_is_none() -> None:
    assert gain(turned=True) > 0.05
    assert abs(gain(turned=False)) < 0.005


def test_a_fit_sees_no_outcome_that_was_not_known() -> None:
    given = rows(turned=False)
    changed = given.copy()
    changed.loc[changed["known_at"] > pd.Timestamp(TRAINED), "label"] = 1.0
    assert np.array_equal(_fit(PROJECT, given, TRAINED)(given), _fit(PROJECT, changed, TRAINED)(given))


def test_odd_rows_are_fitted_and_one_class_is_no_evidence() -> None:
    given = rows(turned=False)
    given.loc[::7, "x"] = np.nan
    given.loc[::11, "x"] = np.inf
    assert np.isfinite(fit_probe(Spec(), given, given["label"].to_numpy())(given)).all()
    empty = given.assign(x=np.nan)
    assert np.isfinite(fit_probe(Spec(), empty, given["label"].to_numpy())(empty)).all()
    with pytest.raises(EvidenceMissing, match="not of both kinds"):
        fit_probe(Spec(), given, np.ones(len(given)))


class Platform:
    """As much of a platform as the estimate reads: a kept training frame, and a log that goes on where it ends."""

    def __init__(self, home: Path, turned: bool) -> None:
        env = {"MODELYARD_ROOT": str(ROOT), "MODELYARD_HOME": str(home)}
        self.settings = Settings.from_env(env)
        spec = load_project("flight_delay", self.settings).spec
        given = rows(turned).assign(key=lambda f: [f"k{i:05d}" for i in range(len(f))])
        other = dict.fromkeys(spec.of(kind="numeric"), given["x"] * 0.0) | dict.fromkeys(
            spec.of(kind="categorical"), "a"
        )
        given = given.assign(**other | {"temp": given["x"], "carrier": given["carrier"].fillna("none")})
        given = given.drop(columns="x").rename(columns={"label": "delayed"})
        before = given["event_time"] < pd.Timestamp(TRAINED)
        frame, log = given[before].reset_index(drop=True), given[~before]
        self.frame_digest = content_digest(canonical(frame, "key"), name="flight_delay")
        path = home / "features" / "flight_delay" / "frames" / f"{self.frame_digest.removeprefix('sha256:')}.parquet"
        path.parent.mkdir(parents=True)
        write_parquet(frame, path)
        self.log, self.reads = log.rename(columns={"delayed": "label", "known_at": "label_at"}), 0
        snapshot = SimpleNamespace(model="flight_delay", content="s")
        known = SimpleNamespace(state=lambda _: "valid", get=lambda _: snapshot)
        self.ledger = SimpleNamespace(snapshots=known, journal=SimpleNamespace(decisions=lambda *_: []))
        self.datasets = SimpleNamespace(read=lambda _: frame)
        self.predictions = self

    def joined(self, model: str, window: Window, as_of: datetime) -> pd.DataFrame:
        self.reads += 1
        asked = self.log["event_time"]
        found = self.log[(asked >= window.start) & (asked < window.end)].copy()
        found.loc[found["label_at"] > pd.Timestamp(as_of), "label"] = np.nan
        return found

    def champion(self) -> SimpleNamespace:
        parts = {"training_frame": self.frame_digest}
        return SimpleNamespace(**vars(CHAMPION), model="flight_delay", as_of=TRAINED, parts=parts, snapshot="s")


def test_from_the_kept_frame_and_the_log_and_each_step_once(tmp_path: Path) -> None:
    platform = Platform(tmp_path, turned=True)
    champion, settled = platform.champion(), TRAINED + 2 * WEEK + timedelta(hours=12)
    first = measure_gains(platform, champion, RULE, (), settled, 12)
    assert len(first) == 1
    assert first[0].value is not None, first[0].why
    assert first[0].value > 0.05
    again = measure_gains(platform, champion, RULE, first, settled + timedelta(days=3), 12)
    assert (again, platform.reads) == (first, 1)
    later = measure_gains(platform, champion, RULE, first, settled + WEEK, 12)
    assert (later[0], len(later), platform.reads) == (first[0], 2, 2)


def test_a_log_without_a_feature_is_no_evidence(tmp_path: Path) -> None:
    platform = Platform(tmp_path, turned=False)
    platform.log = platform.log.drop(columns="temp")
    found = measure_gains(platform, platform.champion(), RULE, (), TRAINED + 3 * WEEK, 12)
    assert [m.why for m in found] == ["the prediction log has no column temp"]


def test_gaps_are_of_the_champions_own_answers_and_measured_once(tmp_path: Path) -> None:
    platform, rule = Platform(tmp_path, turned=False), GainRule(gap_above=0.08)
    rate = platform.log["label"].mean()
    platform.log["score"], platform.log["version"] = rate + 0.1, 1
    platform.log.loc[::2, ["score", "version"]] = [0.9, 2]
    champion, settled = platform.champion(), TRAINED + 2 * WEEK + timedelta(hours=12)
    found = measure_gains(platform, champion, rule, (), settled, 12)
    assert [m.name for m in found] == ["step_gap", "step_gap", "retraining_gain"]
    assert [m.value for m in found[:2]] == [pytest.approx(0.1, abs=0.05)] * 2
    assert found[0].window == Window(start=TRAINED, end=TRAINED + WEEK)
    assert found[0].n == pytest.approx(750, abs=1)
    reads = platform.reads
    assert measure_gains(platform, champion, rule, found, settled, 12) == found
    assert platform.reads == reads


def test_a_step_without_an_answer_of_the_champion_has_no_gap(tmp_path: Path) -> None:
    platform = Platform(tmp_path, turned=False)
    platform.log = platform.log.assign(score=0.5, version=2)
    found = measure_gains(platform, platform.champion(), GainRule(gap_above=0.08), (), TRAINED + 8 * 24 * HOUR, 12)
    assert [(m.value, m.why) for m in found] == [(None, "no answer of this version in these days has an outcome")]
