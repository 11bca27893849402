"""Connecting to the platform's database and bringing its schema up to date."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError

from modelyard.core.errors import ConfigError, Unavailable

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 4_861_702_331
"""Advisory lock of the migrations: "modelyard" folded to a number once."""


def connect(url: str) -> Engine:
    """An engine on the platform's database, of at most 5 connections (10 under load).

    Raises:
        ConfigError: the URL is not PostgreSQL's.
    """
    if not url.startswith("postgresql+psycopg://"):
        shown = url.split("@")[-1]
        raise ConfigError("MODELYARD_DATABASE_URL", shown, "postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE")
    engine = create_engine(url, pool_size=5, max_overflow=5, pool_pre_ping=True)
    event.listen(engine, "handle_error", _say_unavailable)
    return engine


def _say_unavailable(context: ExceptionContext) -> None:
    """A database that does not answer is no bug of ours: say so without a traceback through the driver."""
    # Without a connection the error is one of connecting; with one, it has been lost.
    if isinstance(context.original_exception, psycopg.OperationalError) and (
        context.connection is None or context.is_disconnect
    ):
        reason = str(context.original_exception).strip().splitlines()[0]
        raise Unavailable(
            f"the platform's database does not answer: {reason}. `modelyard up` starts the embedded one."
        ) from context.original_exception


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the schema to this revision; two callers at once take turns.

    Raises:
        Unavailable: the database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config.attributes["connection"] = connection
            if revision == "base":
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)
    except OperationalError as error:
        raise Unavailable(f"the platform's database does not answer: {error.orig}") from error
