"""The run lock: one command at a time that may write on a warehouse, from cycle to `exceptions accept`.

SQLMesh itself has none. On DuckDB a command that only asks may take it too, for the file has one user.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from extract.errors import LockHeld, WarehouseError
from extract.settings import warehouse_file


@contextmanager
def run_lock(gateway: str) -> Iterator[None]:
    """Holds the warehouse's lock, or raises LockHeld at once. A process that dies gives it back, however it dies."""
    if gateway == "redshift":
        from extract.lock_postgres import postgres_lock

        with postgres_lock():
            yield
        return
    with _file_lock(warehouse_file()):
        yield


def assert_lock_held(gateway: str) -> None:
    """WarehouseError where the lock that this process holds has been lost; a lock on a file cannot be."""
    if gateway == "redshift":
        from extract.lock_postgres import assert_still_held

        assert_still_held()


@contextmanager
def _file_lock(warehouse: Path) -> Iterator[None]:
    path = warehouse.with_name(warehouse.name + ".lock")
    try:
        file = path.open("a+")
    except OSError as error:
        raise WarehouseError(
            f"The lock file {path} cannot be written ({error.strerror}); nothing was done. Make its folder writable, "
            "or set ORDER_TRACKING_DUCKDB to a file elsewhere."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(
                f"Another command{_holder(file.fileno())} holds {path}; nothing was done. Wait for it to end, then run "
                "this again."
            ) from None
        except OSError as error:
            raise WarehouseError(
                f"The file {path} cannot be locked ({error.strerror}); nothing was done, for another command might "
                "write at the same time. Some network drives know no locks: set ORDER_TRACKING_DUCKDB to a file on a "
                "local disk, then run this again."
            ) from error
        try:
            _enter(file.fileno(), f"process {os.getpid()}")
            yield
        finally:
            _enter(file.fileno(), "")
            fcntl.flock(file, fcntl.LOCK_UN)  # closing alone would leave it to a child process that has the file too


def _enter(lock: int, holder: str) -> None:
    """Who holds the lock, for whom finds it held. A full disk keeps nobody from working."""
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.write(lock, holder.encode())


def _holder(lock: int) -> str:
    holder = os.pread(lock, 40, 0).decode(errors="replace")
    return f" ({holder})" if holder else ""
