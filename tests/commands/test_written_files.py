"""What a command writes where it is told overwrites nothing else: no warehouse, no device."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from scripts.written_files import place_for, replace
from tests.conftest import START
from tests.support.commands import cycle, status
from tests.support.world import World

PAGE = "<!doctype html>"
AT = "2025-09-01T00:15:30"


@pytest.mark.parametrize("name", ["warehouse", "source", "notes"])
def test_another_file_is_left_as_it_is(world: World, capsys: pytest.CaptureFixture[str], name: str) -> None:
    notes = world.folder / "notes.txt"
    notes.write_text("<html>mine")
    world.order(1, START)
    world.cycle()
    file = {"warehouse": world.warehouse_file, "source": world.source_file, "notes": notes}[name]
    before = file.read_bytes()
    assert status(["--html", str(file), "--at", AT]) == 2
    assert "there is another file, which this command did not write" in capsys.readouterr().err
    assert cycle(["--source", world.source_url, "--at", AT, "--statements", str(file)]) == 2
    assert "this command did not write" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_an_earlier_page_is_replaced_also_behind_a_link(tmp_path: Path) -> None:
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    page.write_text(f"{PAGE}old")
    link.symlink_to(page)
    replace(link, b"<!doctype html>new", PAGE)
    assert link.is_symlink() and page.read_text() == f"{PAGE}new"
    assert sorted(tmp_path.iterdir()) == [link, page]


def test_a_device_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    replace(pipe, b"<!doctype html>", PAGE)
    assert os.read(reader, 100) == b"<!doctype html>" and stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)
    assert place_for(Path("/dev/null"), PAGE) == Path("/dev/null")
