"""The replay on a past whose answer is known: what a policy may see, what it is charged, and when the governor acts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from modelyard.drift.policy import DriftPolicy, Restraint
from modelyard.drift.recalibrate import RecalibrationRule
from modelyard.flows.replay import summary
from modelyard.flows.replay.fits import LEAD_WEEKS
from modelyard.flows.replay.guard import Guard
from modelyard.flows.replay.history import Past
from modelyard.flows.replay.policies import AucDrop, Calendar, CalibrationGap, GapCusum, Governor
from modelyard.flows.replay.simulate import walk
from modelyard.flows.replay.stream import Stream, View

PER_DAY, WEEKS, CHANGE = 160, 20, 12
ORIGIN = datetime(2013, 1, 1, tzinfo=UTC)
GAIN = DriftPolicy(retrain_on="gain", restraint=Restraint(budget=4, budget_days=365))


def past(change: float) -> Past:
    """Rows of 20 weeks whose base rate jumps by ``change`` logits in week 12; outcomes are known two hours later."""
    n = WEEKS * 7 * PER_DAY
    rng = np.random.default_rng(5)
    asked = pd.to_datetime(ORIGIN) + pd.to_timedelta(np.arange(n) * 86_400 // PER_DAY, unit="s")
    x = rng.normal(-1, 1, n)
    moved = np.arange(n) >= CHANGE * 7 * PER_DAY
    label = (rng.random(n) < 1 / (1 + np.exp(-(x + change * moved)))).astype(float)
    place = np.where(np.arange(n) % 3 == 0, "near", "far")
    frame = pd.DataFrame({"asked": asked, "known": asked + pd.Timedelta(hours=2), "x": x, "label": label, "at": place})
    source = SimpleNamespace(event_time="asked", known_at="known", key="asked")
    spec = SimpleNamespace(source=source, label=SimpleNamespace(column="label"), of=lambda **_: ("at",))
    return Past(SimpleNamespace(name="made", spec=spec), frame, ORIGIN)


class Fitted:
    """``Fits`` whose model is the truth but for the intercept, learnt from the four weeks before."""

    def __init__(self, of: Past) -> None:
        self.past, self.made = of, []

    def begin(self, week: int) -> int:
        return self.past.first(max(0, week - LEAD_WEEKS))

    def logits(self, family: str, seed: int, week: int) -> np.ndarray:
        self.made.append(week)
        rows, _ = self.past.seen(week, 28)
        shift = np.log(rows["label"].mean() / (1 - rows["label"].mean())) - np.log(0.3 / 0.7)
        return (self.past.frame["x"].to_numpy()[self.begin(week) :] + shift).astype(np.float32)


def stream(change: float) -> Stream:
    return Stream(Fitted(past(change)), "made", 0, RecalibrationRule())


@pytest.fixture(scope="module")
def jumped() -> Stream:
    return stream(1.5)


@pytest.fixture(scope="module")
def calm() -> Stream:
    return stream(0.0)


def run(on: Stream, policy: object, *, patches: str = "none", start: int = 8):
    return walk(on, on, policy, start=start, until=WEEKS - 1, patches=patches)


class TestWhatAPolicySees:
    def test_nothing_that_was_not_known(self, jumped: Stream) -> None:
        view = View(jumped, jumped, 8, 11)
        rows = view.answers(settle_hours=0)
        now = np.datetime64(view.now.replace(tzinfo=None))
        assert rows["event_time"].max() < now
        assert (rows["known_at"][rows["label"].notna()] <= now).all()
        assert rows["label"].isna().sum() == pytest.approx(PER_DAY / 12, abs=1)  # those of the last two hours
        assert rows["event_time"].min() >= now - np.timedelta64(7, "D")

    def test_no_shift_is_fitted_on_outcomes_that_were_not_known(self, jumped: Stream) -> None:
        now = jumped.past.boundary(11)
        places = jumped.known(8, now, days=7, settle_hours=0)
        assert (jumped.past.known[places] <= now).all()
        assert len(places) == pytest.approx(7 * PER_DAY - PER_DAY / 12, abs=2)
        assert jumped.past.asked[jumped.known(8, now, days=7, settle_hours=12)].max() < now - np.timedelta64(12, "h")

    def test_later_outcomes_change_nothing(self, jumped: Stream) -> None:
        other = past(1.5)
        later = other.frame["known"] > pd.Timestamp(other.start(14))
        other.frame.loc[later, "label"] = 1 - other.frame.loc[later, "label"]
        forked = Stream(Fitted(other), "made", 0)
        for make in (lambda: Governor(GAIN), GapCusum, CalibrationGap, AucDrop):
            one, two = make(), make()
            for week in range(9, 15):
                assert one.wants(View(jumped, jumped, 8, week)) == two.wants(View(forked, forked, 8, week)), week
        assert jumped.shift(8, 14 * 7) == pytest.approx(forked.shift(8, 14 * 7), abs=1e-9)
        assert jumped.sliced(8, 14) == pytest.approx(forked.sliced(8, 14), abs=1e-9)
        assert jumped.sliced(8, 16) != pytest.approx(forked.sliced(8, 16), abs=1e-3)  # by then they are known

    def test_a_category_that_nobody_has_met_yet_has_no_shift(self) -> None:
        of = past(1.5)
        of.frame.loc[of.first(14) :, "at"] = "new"
        on = Stream(Fitted(of), "made", 0)
        new = of.columns[-1, 1]
        assert on.sliced(8, 14)[new] == 0
        assert on.sliced(8, 16)[new] > 0

    def test_a_fit_cannot_be_asked_about_rows_that_it_does_not_forecast(self, jumped: Stream) -> None:
        with pytest.raises(ValueError, match="lies before row"):
            jumped.rows(8, 0, 10)


class TestWhatItCosts:
    def test_the_calendar_retrains_on_time(self, calm: Stream) -> None:
        assert run(calm, Calendar(None)).refits == ()
        assert run(calm, Calendar(4)).refits == (12, 16)
        assert len(run(calm, Calendar(1)).refits) == WEEKS - 9

    def test_losses_are_those_of_what_was_served(self, jumped: Stream) -> None:
        made = run(jumped, Calendar(4))
        of = jumped.past
        rows = slice(of.first(13), of.first(14))
        z = jumped.logits(12)[rows.start - jumped.fits.begin(12) : rows.stop - jumped.fits.begin(12)]
        expected = (np.logaddexp(0, z) - of.label[rows] * z).sum()
        assert made.loss[13 - 8] == pytest.approx(expected)
        assert made.rows[13 - 8] == 7 * PER_DAY

    def test_recalibration_mends_a_base_rate_and_is_counted(self, jumped: Stream) -> None:
        plain, mended, sliced = (run(jumped, Calendar(None), patches=p) for p in ("none", "shift", "slices"))
        assert plain.recalibrations == 0 < mended.recalibrations
        assert sliced.recalibrations == WEEKS - 9  # at the start of each week but the first, whose shifts came with it
        assert mended.loss.sum() < 0.93 * plain.loss.sum()
        assert sliced.loss.sum() < 0.95 * plain.loss.sum()

    def test_slices_mend_what_one_shift_cannot(self) -> None:
        of = past(0.0)
        near = (of.frame["at"] == "near").to_numpy() & (of.asked >= of.boundary(CHANGE))
        of.frame.loc[near, "label"] = np.maximum(of.label[near], np.random.default_rng(1).random(near.sum()) < 0.4)
        on = Stream(Fitted(of), "made", 0)
        shift, sliced = (run(on, Calendar(None), patches=p) for p in ("shift", "slices"))
        assert sliced.loss.sum() < 0.985 * shift.loss.sum()

    def test_a_calm_model_is_hardly_recalibrated(self, calm: Stream) -> None:
        plain, mended, sliced = (run(calm, Calendar(None), patches=p) for p in ("none", "shift", "slices"))
        assert mended.loss.sum() < 1.001 * plain.loss.sum()
        assert sliced.loss.sum() < 1.001 * plain.loss.sum()


class TestTheGovernor:
    def test_it_retrains_after_the_jump_and_within_its_budget(self, jumped: Stream) -> None:
        made = run(jumped, Governor(GAIN))
        assert CHANGE < made.refits[0] <= CHANGE + 2
        assert len(made.refits) <= 4
        weekly = run(jumped, Calendar(1))
        assert made.loss.sum() < weekly.loss.sum() * 1.02
        assert made.probes > 0

    def test_it_rests_where_nothing_changes(self, calm: Stream) -> None:
        assert run(calm, Governor(GAIN)).refits == ()

    def test_the_policy_in_force_sees_the_jump_too(self, jumped: Stream) -> None:
        made = run(jumped, Governor(DriftPolicy()))
        assert CHANGE < made.refits[0] <= CHANGE + 2
        assert made.probes == 0

    @pytest.mark.parametrize("rival", [GapCusum, CalibrationGap])
    def test_so_do_its_rivals(self, jumped: Stream, rival: type) -> None:
        assert CHANGE < run(jumped, rival()).refits[0] <= CHANGE + 1


class Spoilt(Fitted):
    """The fits of some weeks are off by two logits: always (``bad``), or only from their own week on (``late``)."""

    def __init__(self, of: Past, bad: int = -1, late: int = -1) -> None:
        super().__init__(of)
        self.bad, self.late = bad, late

    def logits(self, family: str, seed: int, week: int) -> np.ndarray:
        found = super().logits(family, seed, week)
        if week == self.bad:
            found = found + np.float32(2)
        if week == self.late:
            found[self.past.first(week) - self.begin(week) :] += np.float32(2)
        return found


class TestTheGuard:
    """Fits of every fourth week, of which that of week 12 is spoilt."""

    GUARD = Guard(days=5, worse_by=0.01)

    def run(self, family: str, guard: Guard | None = GUARD, patches: str = "none", **spoilt: int):
        on = Stream(Spoilt(past(0.0), **spoilt), family, 0, RecalibrationRule())
        return walk(on, on, Calendar(4), start=8, until=WEEKS - 1, patches=patches, guard=guard)

    def test_a_fit_that_loses_on_the_days_held_out_is_turned_down_and_counted(self) -> None:
        made = self.run("network", bad=12)
        assert (made.refits[0], made.turned_down) == (12, (12,))
        every = self.run("network", guard=None, bad=12)
        assert (every.refits[0], every.turned_down) == (12, ())
        assert made.loss.sum() < every.loss.sum()

    def test_good_fits_pass(self) -> None:
        made = self.run("network")
        assert (made.refits, made.turned_down, made.backs) == ((12, 16), (), ())

    def test_a_family_that_holds_nothing_out_is_asked_through_the_fit_of_a_week_earlier(self) -> None:
        assert self.run("other", bad=11).turned_down[0] == 12
        assert self.run("other", bad=12).turned_down == ()

    @pytest.mark.parametrize("patches", ["none", "shift", "slices"])
    def test_the_way_back_is_taken_when_the_fit_before_does_better(self, patches: str) -> None:
        made = self.run("network", late=12, patches=patches)
        assert (made.turned_down, made.backs) == ((), (13,))
        alone = self.run("network", guard=None, late=12, patches=patches)
        assert made.loss[13 - 8] < alone.loss[13 - 8]

    def test_what_is_decided_rests_on_what_was_known(self) -> None:
        def late() -> Past:
            of = past(0.0)
            of.frame.loc[::2, "known"] += pd.Timedelta(days=3)
            return of

        of = late()
        later = (of.frame["known"] > pd.Timestamp(of.start(12))).to_numpy()
        of.frame.loc[later, "label"] = 1 - of.frame.loc[later, "label"]
        kept, forked = (Stream(Fitted(it), "network", 0, RecalibrationRule()) for it in (late(), of))
        bounds = np.linspace(-0.1, 0.1, 81)
        for on in (
            lambda stream, bound: Guard(days=5, worse_by=bound).passes(stream, 8, 0.5, 12),
            lambda stream, bound: Guard(5, 0.0, back_from=bound).goes_back(stream, 11, 8, "none", 11, 12),
        ):
            said = [on(kept, bound) for bound in bounds]
            assert said == [on(forked, bound) for bound in bounds]
            assert 0 < sum(said) < len(said)


@pytest.fixture(scope="module")
def walks(jumped: Stream) -> dict:
    made = {"weekly": Calendar(1), "static": Calendar(None)}
    return {(name, "made", s): [run(jumped, p, start=s)] for name, p in made.items() for s in (8, 16)}


class TestSummary:
    def test_weekly_exceeds_itself_by_nothing(self, walks: dict) -> None:
        for row in summary.rows(walks, 0, WEEKS - 1):
            if row["policy"] == "weekly":
                assert (row["excess_over_weekly"], row["excess_low"], row["excess_high"]) == (0.0, 0.0, 0.0)

    def test_intervals_hold_the_value_and_means_are_means(self, walks: dict) -> None:
        rows = [r for r in summary.rows(walks, 0, WEEKS - 1) if r["policy"] == "static"]
        assert all(r["excess_low"] <= r["excess_over_weekly"] <= r["excess_high"] for r in rows)
        mean = next(m for m in summary.means(walks, 0, WEEKS - 1) if m["policy"] == "static")
        assert mean["excess_over_weekly"] == pytest.approx(np.mean([r["excess_over_weekly"] for r in rows]))
        assert mean["excess_low"] <= mean["excess_over_weekly"] <= mean["excess_high"]

    def test_untouched_weeks_leave_the_earlier_ones_out(self, walks: dict) -> None:
        late = {r["start_week"]: r for r in summary.rows(walks, 14, WEEKS - 1) if r["policy"] == "static"}
        whole = walks["static", "made", 8][0]
        assert late[8]["logloss"] == pytest.approx(whole.loss[6:].sum() / whole.rows[6:].sum())
        assert (late[8]["weeks"], late[16]["weeks"]) == (f"14-{WEEKS - 1}", f"16-{WEEKS - 1}")

    def test_a_picture_is_drawn_and_is_the_same_again(self, walks: dict, tmp_path: Path) -> None:
        from modelyard.flows.replay.plot import plot

        means = summary.means(walks, 0, WEEKS - 1)
        result = {"means": means, "untouched": {"means": means}}
        for name in ("a.svg", "b.svg"):
            plot(result, tmp_path / name)
        assert "static" in (tmp_path / "a.svg").read_text()
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
