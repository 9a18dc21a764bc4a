"""The bars of what takes a while: a terminal sees them move, a log does not, and nothing stops for them."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable

import pytest

from scripts.progress import table_progress, with_progress
from tests.conftest import START
from tests.support.commands import cycle as cycle_command
from tests.support.commands import extract as extract_command
from tests.support.world import MINUTE, World, moment


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class GoneTerminal(Terminal):
    def write(self, text: str) -> int:
        raise OSError("Input/output error")


@pytest.fixture(autouse=True)
def some_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def plain(drawn: str) -> str:
    """What was drawn, without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)


def test_a_terminal_sees_each_table_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with table_progress() as progress:
        for rows in (1, 2):
            progress("uni_tracking_spath", rows * 250_000, 1_000_000)
            progress("uni_tracking_info", rows * 5, 0)
            time.sleep(0.2)  # it draws ten times a second at most
        progress("uni_tracking_info", 11, 0)
    drawn = plain(terminal.getvalue())
    assert re.search(r"uni_tracking_spath .*50% 500,000 rows", drawn)
    assert re.search(r"uni_tracking_info .* 11 rows", drawn), "how many are to come is not always known"


def test_a_line_that_is_printed_meanwhile_takes_the_bars_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with table_progress() as progress:
        progress("uni_tracking_spath", 1, 10)
        progress.clear()
        cleared = len(terminal.getvalue())
        progress.clear()
        assert len(terminal.getvalue()) == cleared
        progress("ecs_order_info", 1, 10)
    drawn = plain(terminal.getvalue()[cleared:])
    assert "ecs_order_info" in drawn and "uni_tracking_spath" not in drawn


@pytest.mark.parametrize("command", [extract_command, cycle_command])
def test_whoever_extracts_on_a_terminal_sees_it(
    world: World, monkeypatch: pytest.MonkeyPatch, command: Callable[[list[str]], int]
) -> None:
    world.order(1, START + MINUTE)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    at = f"{moment(START + 15 * MINUTE):%Y-%m-%dT%H:%M:%S}"
    assert command(["--source", world.source_url, "--at", at]) == 0
    for table in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        assert table in plain(terminal.getvalue())


def test_a_terminal_that_is_gone_fails_no_cycle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.order(1, START)
    monkeypatch.setattr(sys, "stderr", GoneTerminal())
    assert cycle_command(["--source", world.source_url, "--at", "2025-09-01T00:15:00"]) == 0
    world.assert_whole()


@pytest.mark.parametrize("stream", [io.StringIO, GoneTerminal])
def test_every_item_comes_whoever_watches(monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    assert list(with_progress([1, 2, 3], "counting")) == [1, 2, 3]


def test_a_log_sees_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI sets it
    with table_progress() as progress:
        progress("uni_tracking_spath", 1, 10)
        assert list(with_progress([1], "counting")) == [1]
    assert log.getvalue() == ""
