"""Passwords and keys: made once, kept in files that only their owner can read."""

from __future__ import annotations

import base64
import json
import os
import secrets as random_source
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.core.errors import IntegrityError

Token = Callable[[int], str]

DATABASES = ("airflow", "mlflow", "feast", "modelyard")
"""Each has a role of its own with the same name, which owns nothing else."""

AIRFLOW_USERS: Mapping[str, str] = {"admin": "admin", "demo-approver-1": "user", "demo-approver-2": "user"}
"""The embedded Airflow's users and their roles: ``user`` may see everything, run DAGs and answer approvals."""


def _fernet_key(_: int) -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


@dataclass(frozen=True)
class Secrets:
    """All secrets of an installation. ``repr`` shows no value."""

    values: Mapping[str, str]
    airflow_passwords: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self.values))})"

    def __getitem__(self, name: str) -> str:
        return self.values[name]


_KINDS: Mapping[str, int] = {
    "postgres-admin": 24,
    **{f"postgres-{name}": 24 for name in DATABASES},
    "airflow-fernet-key": 32,
    "airflow-jwt-secret": 64,
    "airflow-secret-key": 32,
    "gateway-admin-token": 32,
}
_PASSWORDS = "airflow-passwords.json"  # pragma: allowlist secret (a file's name)


def secrets_folder(home: Path) -> Path:
    """Where an installation keeps its secrets."""
    return home / "secrets"


def load_or_make_secrets(home: Path, token: Token = random_source.token_urlsafe, more: Iterable[str] = ()) -> Secrets:
    """Read the secrets of an installation; whatever does not exist yet is made. ``more`` names further ones.

    Raises:
        IntegrityError: a file is empty or unreadable; a lost password cannot be guessed.
    """
    folder = secrets_folder(home)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    kinds = {**_KINDS, **dict.fromkeys(more, 24)}
    values = {name: _one(folder / name, _maker(name, token), size) for name, size in kinds.items()}
    passwords = _one(folder / _PASSWORDS, lambda size: json.dumps({u: token(size) for u in AIRFLOW_USERS}), 12)
    return Secrets(values, _known_users(folder / _PASSWORDS, passwords))


def read_secrets(home: Path) -> Secrets | None:
    """The secrets, or None where the installation has none yet."""
    return load_or_make_secrets(home) if (secrets_folder(home) / _PASSWORDS).is_file() else None


def passwords_file(home: Path) -> Path:
    """The file from which Airflow's simple auth manager reads passwords."""
    return secrets_folder(home) / _PASSWORDS


def _maker(name: str, token: Token) -> Token:
    return _fernet_key if name == "airflow-fernet-key" else token


def _one(path: Path, make: Token, size: int) -> str:
    if not path.exists():
        write_private(path, make(size))
    value = path.read_text(encoding="utf-8").strip()
    if not value:
        raise IntegrityError(
            f"the secret {path} is empty. Restore it, or `modelyard down` and remove its whole folder's home."
        )
    path.chmod(0o600)
    return value


def _known_users(path: Path, text: str) -> Mapping[str, str]:
    try:
        passwords = json.loads(text)
    except json.JSONDecodeError:
        raise IntegrityError(f"{path} is not JSON. Remove it, and new passwords are made at the next start.") from None
    missing = [user for user in AIRFLOW_USERS if not isinstance(passwords, dict) or not passwords.get(user)]
    if missing:
        raise IntegrityError(f"{path} has no password for {', '.join(missing)}. Remove it, and new ones are made.")
    return {user: str(password) for user, password in passwords.items()}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
