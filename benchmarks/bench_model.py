"""The flight model refitted weekly, beside two peers of scikit-learn on the same rows of the same frames.

For each week 14 to 51: a window of twelve weeks as it was known at the week's start, then a forecast of the week. Ours
is what the training flow makes, days held out for evaluation included; the peers are fitted on the whole window.
Weekly means. The numbers of ``params.yaml`` were chosen on weeks 2 to 13 alone.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from _report import ROOT, Row, write

from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings
from modelyard.core.window import Window
from modelyard.evaluation.metrics import auc, brier, logloss
from modelyard.features.join import point_in_time
from modelyard.training.model import train_model
from modelyard.training.params import TrainParams, read_params

NEW_YEAR = datetime(2013, 1, 1, tzinfo=UTC)
METRICS = {"AUC": (auc, "higher"), "logloss": (logloss, "lower"), "Brier": (brier, "lower")}
Scores = dict[str, list[tuple[float, ...]]]


def year(project: Project) -> pd.DataFrame:
    """All flights of the year with their features as they were known at scheduled departure."""
    spec = project.spec
    flights = project.code(spec.source.loader)(Window(start=NEW_YEAR, end=NEW_YEAR + timedelta(days=366)))
    known = flights[flights[spec.source.known_at].notna()].reset_index(drop=True)
    build = project.code(spec.feature_builder)
    tables = build(known, NEW_YEAR - timedelta(days=1), NEW_YEAR + timedelta(days=367))
    return point_in_time(spec, known, tables)


def peers(project: Project) -> dict[str, Any]:
    """Logistic regression and gradient boosting, untrained."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    numeric, categorical = list(project.spec.of(kind="numeric")), list(project.spec.of(kind="categorical"))
    prepared = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=250)
    places = list(range(len(numeric), len(numeric) + len(categorical)))
    return {
        "logistic regression": make_pipeline(
            make_column_transformer((prepared, numeric), (hot, categorical)), LogisticRegression(C=0.3, max_iter=500)
        ),
        "hist gradient boosting": make_pipeline(
            make_column_transformer(("passthrough", numeric), (codes, categorical)),
            HistGradientBoostingClassifier(
                max_iter=150, learning_rate=0.05, max_leaf_nodes=31, categorical_features=places, random_state=0
            ),
        ),
    }


def one_week(project: Project, frame: pd.DataFrame, week: int, params: TrainParams, scores: Scores) -> None:
    """Refit everybody at the start of the week and score its flights."""
    from threadpoolctl import threadpool_limits

    spec, start = project.spec, NEW_YEAR + timedelta(weeks=week)
    window = Window.last(timedelta(days=params.window_days), before=start)
    asked, known = frame[spec.source.event_time], frame[spec.source.known_at]
    seen = frame[(asked >= window.start) & (asked < window.end) & (known <= start)]
    ahead = frame[(asked >= start) & (asked < start + timedelta(weeks=1))]
    label = ahead[spec.label.column].to_numpy(dtype=np.float64)
    began = time.perf_counter()
    trained = train_model(project, seen, window, params)
    _keep(scores, "ours", label, trained.score(ahead), time.perf_counter() - began)
    columns = list(spec.features)
    for name, peer in peers(project).items():
        began = time.perf_counter()
        with threadpool_limits(1):  # as many threads as ours has; more would only wait for each other on a busy machine
            peer.fit(seen[columns], seen[spec.label.column])
            forecast = peer.predict_proba(ahead[columns])[:, 1]
        _keep(scores, name, label, forecast, time.perf_counter() - began)


def _keep(scores: Scores, who: str, label: Any, p: Any, seconds: float) -> None:
    scores.setdefault(who, []).append((*(function(label, p) for function, _ in METRICS.values()), seconds))


def rows_of(scores: Scores) -> list[Row]:
    """Weekly means beside each peer's."""
    means = {who: np.mean(values, axis=0) for who, values in scores.items()}
    ours, rows = means.pop("ours"), []
    for peer, theirs in means.items():
        for place, (name, (_, better)) in enumerate(METRICS.items()):
            rows.append(Row(f"{name}, weekly refit", ours[place], name, peer, theirs[place], better))
        rows.append(Row("seconds per refit", ours[-1], "s", peer, theirs[-1], "lower"))
    return rows


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weeks", default="14-51", help="FIRST-LAST, week 0 starts 1 January 2013 UTC")
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    first, last = map(int, given.weeks.split("-"))
    project = load_project("flight_delay", Settings.from_env({"MODELYARD_ROOT": str(ROOT)}))
    overrides = {} if given.seed is None else {"seed": given.seed}
    params = read_params(project.params, model=project.name, overrides=overrides)
    frame, scores = year(project), Scores()
    for week in range(first, last + 1):
        one_week(project, frame, week, params, scores)
        print(week, {who: [round(float(x), 4) for x in values[-1]] for who, values in scores.items()}, flush=True)
    rows = [Row(r.figure, float(r.ours), r.unit, r.peer, float(r.peer_value), r.better) for r in rows_of(scores)]
    write("model", rows, weeks=given.weeks, params=params.model_dump(mode="json"))


if __name__ == "__main__":
    main()
