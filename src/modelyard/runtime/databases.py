"""Makes our databases, each with a role of its own that may do nothing elsewhere. Repeating it changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import psycopg
from psycopg import sql

from modelyard.core.errors import ConfigError, ModelyardError, Unavailable
from modelyard.runtime.secrets import DATABASES


def create_databases(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Create each role and its database; an existing role gets the password given.

    Raises:
        Unavailable: the server does not answer or refuses us.
    """
    try:
        with psycopg.connect(admin_url, autocommit=True, connect_timeout=10) as connection:
            for name, password in passwords.items():
                create_database(connection, name, password)
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL refused to set up its databases: {error}") from error


def create_database(connection: psycopg.Connection[tuple[object, ...]], name: str, password: str) -> None:
    """One role and the database that it owns; nobody else may connect to it."""
    role = sql.Identifier(name)
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    verb = sql.SQL("ALTER" if exists else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
            verb, role, sql.Literal(password)
        )
    )
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))


def _from_env(env: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    names = {name: f"YARD_PASSWORD_{name.upper()}" for name in DATABASES}
    for key in ("YARD_ADMIN_URL", *names.values()):
        if not env.get(key):
            raise ConfigError(key, "", "a value", where="environment")
    return env["YARD_ADMIN_URL"], {name: env[key] for name, key in names.items()}


def main() -> int:
    """``python -m modelyard.runtime.databases``: the addresses and passwords come from the environment."""
    try:
        create_databases(*_from_env(os.environ))
    except ModelyardError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
