"""Which errors of the database are temporary: it is locked or away. All others are faults."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

# SQLite: another connection holds the lock (PROTOCOL: while the write-ahead log is opened), or the
# file cannot be opened now. Python raises OperationalError for a missing column, a full disk and a
# read-only file, too; these are not temporary.
SQLITE_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_CANTOPEN")

# PostgreSQL, by SQLSTATE: the connection is lost (class 08), the server shuts down, crashed or
# starts (57P01 to 57P03), has no connection left (53300), gave up one of two transactions (40001,
# 40P01), or a lock was not to be had in time (55P03).
POSTGRES_PASSING = ("08", "57P01", "57P02", "57P03", "57P05", "53300", "40001", "40P01", "55P03")


def passing(error: BaseException | None) -> bool:
    """Tell whether an error is temporary: the database is locked or away."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    cause = error.__cause__
    if name := getattr(cause, "sqlite_errorname", None):
        return str(name).startswith(SQLITE_PASSING)
    if state := getattr(cause, "sqlstate", None):
        return str(state).startswith(POSTGRES_PASSING)
    if cause is not None and type(cause).__module__.startswith("psycopg"):
        return True  # without a state it is the driver's own: it has no connection
    return isinstance(error, InterfaceError)  # Django's own: "connection already closed"
