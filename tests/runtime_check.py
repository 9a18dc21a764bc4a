"""What `make cycle` installs is enough, for a user without HOME: a login and two cycles in a fresh environment.

`make runtime-check` runs it. A copy of the project without .env is installed as `make cycle` does it. As root it acts
as a user whom the system does not know and who may not write the project; otherwise as oneself, without HOME.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
UNKNOWN = 64999


def pythons() -> list[str]:
    found = [sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"]
    return [str(Path(each).resolve()) for each in found if Path(each).exists()]


def as_user(*command: str) -> list[str]:
    """The command as that user, with nothing in its environment but PATH."""
    drop = [f"--reuid={UNKNOWN}", f"--regid={UNKNOWN}", "--clear-groups"]
    return [*(["setpriv", *drop] if os.geteuid() == 0 else []), "env", "-i", "PATH=/usr/bin:/bin", *command]


def usable_python() -> str:
    """One that the user may run: root's own may stand in a home that is closed to others."""
    for python in pythons():
        if subprocess.run(as_user(python, "-c", ""), capture_output=True, cwd="/").returncode == 0:
            return python
    raise SystemExit("No Python that another user may run was found")


def install(project: Path) -> None:
    files = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.splitlines()):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, project / name)
    subprocess.run(["make", f"PYTHON={usable_python()}", ".venv/.installed"], cwd=project, check=True)
    subprocess.run(["chmod", "-R", "a+rX", str(project)], check=True)


def check(project: Path, writable: Path) -> None:
    sys.path.insert(0, str(PROJECT))
    from tests.support.mariadb_server import MariaDB

    with MariaDB() as server:
        server.execute("CREATE DATABASE runtime_check")
        url = server.url("runtime_check")
        settings = [f"ORDER_TRACKING_SOURCE={url}", f"ORDER_TRACKING_DUCKDB={writable / 'warehouse.duckdb'}"]
        program = str(project / ".venv" / "bin" / "order-tracking")
        simulated = ["simulate", "--source", url, "--orders", "300", "--months", "2", "--seed", "1"]
        cycles = [["cycle", "--at", f"2025-09-01T00:{minute}:30Z"] for minute in (15, 30)]
        try:
            for command in ([*simulated, "--at", "2025-09-01T00:00:00Z"], *cycles):
                subprocess.run(as_user(*settings, program, *command), cwd="/", check=True)
        finally:
            server.execute("DROP DATABASE runtime_check")
    count = (
        "import duckdb, sys; rows = [duckdb.connect(sys.argv[1], read_only=True)"
        ".execute('SELECT COUNT(*) FROM order_tracking.' + name).fetchone()[0] for name in sys.argv[2:]];"
        "print('rows in the marts:', *rows); sys.exit(not all(rows))"
    )
    marts = ("mart_uni_tracking_info", "mart_ecs_order_info", "mart_uni_tracking_spath")
    python = str(project / ".venv" / "bin" / "python")
    subprocess.run(as_user(python, "-c", count, str(writable / "warehouse.duckdb"), *marts), cwd="/", check=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ot-runtime-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        writable = folder / "writable"
        writable.mkdir()
        if os.geteuid() == 0:
            os.chown(writable, UNKNOWN, UNKNOWN)
        install(folder / "project")
        check(folder / "project", writable)


if __name__ == "__main__":
    main()
