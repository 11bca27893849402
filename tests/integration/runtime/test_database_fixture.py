"""The embedded PostgreSQL as the tests get it."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine, text


def test_a_fresh_database_is_empty_and_its_role_owns_nothing_else(postgres_server, postgres_url: str) -> None:
    plain = postgres_url.replace("+psycopg", "")
    with psycopg.connect(plain) as connection:
        (tables,) = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        role = connection.execute("SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = user")
        assert (tables, role.fetchone()) == (0, (False, False, False))
    other = postgres_server.fresh("other").rsplit("/", 1)[1]
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(plain.rsplit("/", 1)[0] + "/" + other)


def test_a_wrong_password_is_refused(postgres_server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.admin.replace(postgres_server.password, "wrong"))


def test_the_ledger_has_its_tables(ledger_engine: Engine) -> None:
    with ledger_engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
