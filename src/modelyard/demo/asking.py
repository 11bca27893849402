"""Tells a person which questions wait for an answer: with --interactive nobody else gives one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from modelyard.demo.airflow_api import Question
from modelyard.demo.progress import Narrator

REMIND_SECONDS = 180.0


class Asking:
    """Says of each open question where it is answered and who may, and says it again every few minutes."""

    def __init__(
        self,
        url: str,
        passwords: Mapping[str, str],
        tell: Narrator,
        *,
        every: float = REMIND_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._passwords, self._tell, self._every, self._clock = url, passwords, tell, every, clock
        self._said: dict[Question, float] = {}

    def logins(self, names: Iterable[str]) -> str:
        """Names with their passwords, where they are known here."""
        return " or ".join(f"{n} / {self._passwords[n]}" if n in self._passwords else n for n in names)

    def show(self, questions: Sequence[Question]) -> None:
        """Say what waits, unless it was said a short while ago."""
        for question in questions:
            known = self._said.get(question)
            if known is not None and self._clock() - known < self._every:
                continue
            self._said[question] = self._clock()
            opening = "" if known is None else "Still waiting, for as long as it takes: "
            address = f"{self._url}{question.page}"
            who = self.logins(question.people) or "anybody whom Airflow lets in"
            self._tell.say(f"{opening}{question.subject} Please answer at {address} as {who}")
