"""The bar of a long read: a terminal sees it move, a log file does not."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

import pytest

from extract.__main__ import main as extract_command
from scripts.progress import table_progress
from scripts.run_cycle import main as cycle_command
from tests.conftest import START
from tests.support.world import MINUTE, World, moment


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_each_table_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with table_progress() as progress:
        assert progress is not None
        for rows in (1, 2):
            progress("uni_tracking_spath", rows * 250_000, 1_000_000)
            progress("uni_tracking_info", rows * 5, 0)
            time.sleep(0.2)  # it draws ten times a second at most
    drawn = terminal.getvalue()
    assert "uni_tracking_spath:  50%" in drawn and "500k/1.00M" in drawn
    assert "uni_tracking_info: 10" in drawn, "how many are to come is not always known"


@pytest.mark.parametrize("command", [extract_command, cycle_command])
def test_whoever_extracts_on_a_terminal_sees_it(
    world: World, monkeypatch: pytest.MonkeyPatch, command: Callable[[list[str]], int]
) -> None:
    world.order(1, START + MINUTE)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    at = f"{moment(START + 15 * MINUTE):%Y-%m-%dT%H:%M:%S}"
    assert command(["--source", world.source_url, "--at", at]) == 0
    for table in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        assert f"\r{table}: " in terminal.getvalue()


def test_a_log_file_sees_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with table_progress() as progress:
        assert progress is None
