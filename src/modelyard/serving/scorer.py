"""One loaded version: ONNX graph, calibration, encoder. Immutable once warm."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from threading import get_ident
from time import perf_counter, thread_time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelyard.config.project import RESERVED
from modelyard.core.errors import IntegrityError
from modelyard.core.records import Release
from modelyard.release.encode import probability
from modelyard.release.signature import Calibration, Signature
from modelyard.serving.encoding import Encoded, Encoder
from modelyard.serving.keyed import keyed_rows
from modelyard.serving.typed import typed_rows

WARM_UP_CALLS = 50


class Scorer:
    """Scores encoded rows with one release.

    The graph has inputs ``numeric`` (float32) and ``categorical`` (int64), either of which may be absent, and the
    output ``logit``; the probability is the calibrated sigmoid of it. ``example`` holds the rows of the bundle's
    example as they would be sent, or none.
    """

    def __init__(self, release: Release, digest: str, files: Mapping[str, bytes]) -> None:
        self.release, self.digest, self.version = release, digest, release.version
        self.signature = Signature.from_json(files["signature.json"])
        self.encoder, self.typed = Encoder(self.signature), typed_rows(self.signature)
        self.keyed = keyed_rows(self.signature)
        self._calibration = Calibration.from_json(files["calibration.json"])
        self._session = _session(files["model.onnx"])
        self.row_cpu_s = 0.0
        """Processor time of a row in the warm-up; the median of the calls."""
        self.grown_mb: float | None = None
        """By how much this process grew when the version was loaded and warmed up, in MiB; None where not known."""
        self._inputs = {i.name for i in self._session.get_inputs()}
        if not self._inputs <= {"numeric", "categorical"}:
            raise IntegrityError(f"the graph asks for inputs {sorted(self._inputs)}; known are numeric and categorical")
        if taken := RESERVED & {i.name for i in self.signature.inputs}:
            raise IntegrityError(f"features may not be called {sorted(taken)}: the prediction log has such columns")
        self.example = _example_rows(files.get("example.json"))

    def score(self, rows: Encoded, options: Any = None) -> NDArray[np.float64]:
        """Calibrated probabilities, one a row. What the graph makes of them (NaN included) is returned as it is.

        ``options`` are ONNX Runtime's for this one run.
        """
        feed: dict[str, Any] = {}
        if "numeric" in self._inputs:
            feed["numeric"] = rows.numeric
        if "categorical" in self._inputs:
            feed["categorical"] = rows.categorical
        logit = np.asarray(self._session.run(["logit"], feed, options)[0], dtype=np.float64).reshape(-1)
        if len(logit) != len(rows):
            raise IntegrityError(f"the graph answered {len(logit)} values for {len(rows)} rows")
        return probability(logit, self._calibration)

    def warm_up(self, calls: int = WARM_UP_CALLS) -> None:
        """Score the bundle's example, or empty rows where it has none, so that first users do not pay for it.

        Raises:
            IntegrityError: the version cannot answer its own example with probabilities.
        """
        rows = self.encoder.encode(self.example) if self.example else self._blank()
        spent = []
        for _ in range(calls):
            start = thread_time()
            scores = self.score(rows)
            spent.append(thread_time() - start)
        self.row_cpu_s = median(spent) / len(rows)
        if self.example and not valid(scores).all():
            raise IntegrityError("the version answers its own example with something that is no probability")

    def _blank(self) -> Encoded:
        inputs = self.signature
        numeric = np.zeros((1, len(inputs.numeric)), dtype=np.float32)
        return Encoded(numeric, np.zeros((1, len(inputs.categorical)), dtype=np.int64), ())


Age = Callable[[], float]
WAITING = 0.1
"""What a second counts for in which a call did not have the processor."""


def age() -> Age:
    """How old a call is that this thread begins now, in seconds; may be asked from any thread.

    The processor time that the thread has spent since, or a tenth of the time gone by where that is more: on a busy
    machine a thread waits for a processor, which is no fault of what it runs. The time gone by alone where the system
    tells no other thread's processor time.
    """
    began = perf_counter()
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: perf_counter() - began
    clock = time.pthread_getcpuclockid(get_ident())
    spent = time.clock_gettime(clock)
    return lambda: max(time.clock_gettime(clock) - spent, WAITING * (perf_counter() - began))


class Interrupted(Exception):
    """A call was ended from another thread before the graph had come to its end."""


class Call:
    """A way into a scorer by which one call at a time is made, and may be ended by another thread.

    ONNX Runtime looks between two nodes (of a loop's body, too) whether it shall end: a single node is not cut short.
    """

    def __init__(self, scorer: Scorer) -> None:
        import onnxruntime

        self._scorer, self._options = scorer, onnxruntime.RunOptions
        self._run: tuple[Any, Age] | None = None

    @property
    def under_way(self) -> bool:
        """Whether a call is being made."""
        return self._run is not None

    def score(self, rows: Encoded) -> NDArray[np.float64]:
        """``Scorer.score``. Raises ``Interrupted`` where the call was ended."""
        # Options of its own for each run: an end that comes late never meets the next run.
        options = self._options()
        self._run = options, age()
        try:
            return self._scorer.score(rows, options)
        except Exception as error:
            if options.terminate:
                raise Interrupted(f"version {self._scorer.version} was interrupted") from error
            raise
        finally:
            self._run = None

    def interrupt(self, older_than_s: float = 0.0) -> None:
        """End the call under way if its age is more than this; it may still come to its end."""
        run = self._run
        if run is not None and run[1]() >= older_than_s:
            run[0].terminate = True


def valid(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which scores are probabilities."""
    return (scores >= 0.0) & (scores <= 1.0)


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One row takes some 30 microseconds: threads would only cost. Scaling out is by replicas.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    available = onnxruntime.get_available_providers()
    providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
    return onnxruntime.InferenceSession(graph, options, providers=providers)


def _example_rows(example: bytes | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = msgspec.json.decode(example)["rows"] if example else []
    return rows
