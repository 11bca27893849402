"""The exception tree of the platform.

ModelyardError
├── ConfigError          a file or setting is wrong: names key, value, what is accepted, what to do
├── NotFound             a named thing does not exist
├── Conflict             the thing exists or is in a state that forbids the action
├── EvidenceMissing      a decision was asked for without its evidence (never a pass)
├── IntegrityError       bytes do not match the digest that names them
│   └── Untrusted        no trusted key has signed them
├── ValidationFailed     a snapshot broke a critical expectation and is quarantined
├── GateBlocked          a blocker gate did not pass
├── NotApproved          governance did not approve
└── Unavailable          a component did not answer; trying again may help
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ModelyardError(Exception):
    """Base of every error raised on purpose. Its text is meant for the person who has to act."""


class ConfigError(ModelyardError):
    """A configuration value is wrong.

    The message names the place, the key, the value found, what is accepted and the next step.
    """

    def __init__(
        self, key: str, value: object, accepted: str | Iterable[str], *, where: str = "", hint: str = ""
    ) -> None:
        self.key, self.value, self.where = key, value, where
        choices = [] if isinstance(accepted, str) else sorted(accepted)
        self.accepted = accepted if isinstance(accepted, str) else ", ".join(choices) or "nothing"
        close = difflib.get_close_matches(str(value), choices, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        place = f"{where}: " if where else ""
        advice = f" {hint}" if hint else ""
        super().__init__(f"{place}{key} = {value!r} is not accepted (accepted: {self.accepted}).{meant}{advice}")


class NotFound(ModelyardError):
    """A named thing does not exist."""

    def __init__(self, kind: str, name: object, *, known: Iterable[str] = (), hint: str = "") -> None:
        self.kind, self.name = kind, name
        choices = sorted(known)
        close = difflib.get_close_matches(str(name), choices, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(choices)}." if choices else ""
        super().__init__(f"no {kind} {str(name)!r}.{meant}{' ' + hint if hint else ''}")


class Conflict(ModelyardError):
    """The state of a thing forbids the action."""


class EvidenceMissing(ModelyardError):
    """Evidence that a decision needs is absent. Absence is never a pass."""


class IntegrityError(ModelyardError):
    """Bytes do not match the digest that names them."""


class Untrusted(IntegrityError):
    """No trusted key has signed these bytes: nobody knows whose they are."""


class ValidationFailed(ModelyardError):
    """A critical expectation failed; the snapshot is quarantined and nothing downstream may read it."""


class GateBlocked(ModelyardError):
    """A blocker gate failed, was inconclusive or had an error."""


class NotApproved(ModelyardError):
    """Governance rejected the release, or nobody answered in time."""


class Unavailable(ModelyardError):
    """A component did not answer. The action changed nothing and may be tried again."""
