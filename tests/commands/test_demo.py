"""The demo: it starts anew, stays in its own folder, and the commands that it prints run as printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from extract.settings import PROJECT
from scripts.demo import demo
from tests.support.commands import order as order_command
from tests.support.commands import status as status_command

SETTINGS_OF_THE_USER = {
    "ORDER_TRACKING_GATEWAY": "redshift",
    "ORDER_TRACKING_DUCKDB": "/not/to/be/touched.duckdb",
    "ORDER_TRACKING_SOURCE": "mysql://production/orders",
    "ALERT_SLACK_WEBHOOK": "http://127.0.0.1:1/nobody-listens",
    "ALERT_SMTP_HOST": "127.0.0.1",
}


def test_the_demo_starts_anew_tells_its_story_and_its_commands_run_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a user may have set for production stays as it is: the demo does not go there, nor alert anybody."""
    for name, value in SETTINGS_OF_THE_USER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STATUS_PAGE", str(tmp_path / "page-of-the-user.html"))
    folder = tmp_path / "demo"
    folder.mkdir()
    for left_behind in ("source.duckdb", "warehouse.duckdb", "warehouse.duckdb.wal"):
        (folder / left_behind).write_text("of a demo that was broken off")
    before = dict(os.environ)
    demo(folder=folder)
    assert dict(os.environ) == before
    told = capsys.readouterr().out
    assert "could not be delivered" not in told and "warning" not in told
    cycles = re.findall(r"^(\d\d:\d\d) +\d+\.\d s +([\d,]+) landed +([\d,]+) archived$", told, re.MULTILINE)
    assert [moment for moment, _, _ in cycles] == [
        "23:15",
        "23:30",
        "23:45",
        "00:00",
        "00:15",
    ]
    assert re.search(r"^scans +[\d,]+ +[1-9][\d,]*$", told, re.MULTILINE), "what was archived at first"
    (returned,) = re.findall(r"Among them order (\d+), which was archived", told)
    assert re.search(r"^order_without_ecs +\d", told, re.MULTILINE)
    without, restored = re.findall(rf"^{returned} +200 +(\S+)$", told, re.MULTILINE)
    assert without == "-" and int(restored) > 0
    prose = [line for line in told.partition("6  What to try next")[0].splitlines() if len(line) > 64]
    assert not prose, "a phone shows no wider line"
    assert (
        "Open it in a browser:" in told
        and "order-tracking, 2026-02-03 00:15 UTC" in (folder / "status.html").read_text()
    )
    assert not (tmp_path / "page-of-the-user.html").exists()
    commands = re.findall(r"^# .*\n(.+)$", told, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        done = subprocess.run(["bash", "-c", command], cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, f"{command}: {done.stdout}{done.stderr}"
    assert "1 open." in done.stdout, "the next daily check closes it"
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(folder / "warehouse.duckdb"))
    here = ["--gateway", "local"]
    for shown, command, arguments in (
        (f"order {returned}", order_command, [returned]),
        ("status", status_command, ["--at", "2026-02-03T00:20:00"]),
    ):
        command([*arguments, *here])
        told = capsys.readouterr().out
        lines = [line for line in of_readme(shown) if not re.search(r"\d s:|half-hours|^24 hours", line)]
        assert lines and not [line for line in lines if line not in told.splitlines()], told


def of_readme(command: str) -> list[str]:
    """The lines that README.md shows of a command, but for those that it leaves out."""
    _, _, after = (PROJECT / "README.md").read_text().partition(f"$ order-tracking {command}\n")
    return [line for line in re.split(r"\n\$ |```", after)[0].splitlines() if line not in ("", "...")]
