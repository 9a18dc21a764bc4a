"""Runs a command and writes what it cost: wall seconds, CPU seconds and peak memory of that process alone.

    python -m bench.measure RESULT.json COMMAND ...

A process of its own and free of libraries: a child's peak memory counts what its parent held when it was started.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def measure(command: list[str]) -> dict[str, float]:
    """wall, cpu (seconds), peak_mb and the exit code of a command."""
    started = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    return {
        "wall": time.monotonic() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "exit": os.waitstatus_to_exitcode(status),
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure(sys.argv[2:])))
