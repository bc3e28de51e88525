"""Which errors of the database are temporary. SQLite's are provoked, PostgreSQL's are made."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.db import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from psycopg import errors

from generator.database import passing

KINDS = {
    kind.__name__: kind
    for kind in (
        DatabaseError,
        DataError,
        IntegrityError,
        InterfaceError,
        OperationalError,
        ProgrammingError,
    )
}


def as_django(error: Exception) -> Exception:
    """Return Django's error for one of a driver, caused by it."""
    kind = next(KINDS[base.__name__] for base in type(error).__mro__ if base.__name__ in KINDS)
    wrapped: Exception = kind(*error.args)
    wrapped.__cause__ = error
    return wrapped


def sqlite_error(do: Callable[[sqlite3.Connection], object], file: Path) -> Exception:
    with (
        closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection,
        pytest.raises(sqlite3.Error) as caught,
    ):
        do(connection)
    return as_django(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    return tmp_path / "db"


FAULTS = [
    "SELECT * FROM nothing",
    "SELECT nothing FROM texts",
    "SELEC text FROM texts",
    "INSERT INTO texts VALUES (1, NULL)",
    "SELECT length(1, 2)",
    "COMMIT",
]


@pytest.mark.parametrize("statement", FAULTS)
def test_a_fault_in_sql_is_not_temporary(file: Path, statement: str) -> None:
    assert not passing(sqlite_error(lambda connection: connection.execute(statement), file))


def test_a_lock_of_sqlite_is_temporary(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert passing(sqlite_error(lambda connection: connection.execute("BEGIN IMMEDIATE"), file))
        assert passing(
            sqlite_error(lambda connection: connection.execute("SELECT * FROM texts"), file)
        )


def test_a_file_that_cannot_be_opened_is_temporary_but_not_one_that_is_read_only(
    file: Path,
) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(file.parent / "gone" / "db")
    assert passing(as_django(caught.value))
    with (
        closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection,
        pytest.raises(sqlite3.Error) as readonly,
    ):
        connection.execute("DELETE FROM texts")
    assert not passing(as_django(readonly.value))
    file.write_bytes(b"no database at all" * 100)
    assert not passing(
        sqlite_error(lambda connection: connection.execute("SELECT * FROM texts"), file)
    )


POSTGRES = [
    (errors.ConnectionException, True),
    (errors.ConnectionFailure, True),
    (errors.SqlclientUnableToEstablishSqlconnection, True),
    (errors.AdminShutdown, True),
    (errors.CrashShutdown, True),
    (errors.CannotConnectNow, True),
    (errors.TooManyConnections, True),
    (errors.LockNotAvailable, True),
    (errors.DeadlockDetected, True),
    (errors.SerializationFailure, True),
    (errors.UndefinedTable, False),
    (errors.UndefinedColumn, False),
    (errors.SyntaxError, False),
    (errors.DiskFull, False),
    (errors.OutOfMemory, False),
    (errors.QueryCanceled, False),
    (errors.IoError, False),
    (errors.InsufficientPrivilege, False),
    (errors.NotNullViolation, False),
    (errors.StringDataRightTruncation, False),
    (
        psycopg.OperationalError,
        True,
    ),  # the driver's own: could not connect, or the server closed the connection
    (psycopg.InterfaceError, True),
    (psycopg.ProgrammingError, False),
]


@pytest.mark.parametrize(("kind", "passes"), POSTGRES, ids=[kind.__name__ for kind, _ in POSTGRES])
def test_which_errors_of_postgresql_are_temporary(kind: type[Exception], passes: bool) -> None:
    assert passing(as_django(kind("said"))) is passes


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (InterfaceError("connection already closed"), True),  # Django's own
        (OperationalError("something else"), False),
        (Error("something"), False),
        (ValueError("no error of a database"), False),
        (None, False),
    ],
)
def test_errors_without_one_of_a_driver_as_cause(error: Exception | None, passes: bool) -> None:
    assert passing(error) is passes
