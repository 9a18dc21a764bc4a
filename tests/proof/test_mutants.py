"""The mutants run once a day; here, that each of them can still be made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.proof.mutants import MUTANTS, PROJECT


def test_the_text_of_every_mutant_stands_where_it_says() -> None:
    lost = [mutant.name for mutant in MUTANTS if (PROJECT / mutant.file).read_text().count(mutant.old) != 1]
    assert not lost
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 30


def test_every_mutant_knows_the_names_that_it_uses(tmp_path: Path) -> None:
    """A mutant that is no Python, or breaks with a NameError, shows nothing."""
    for mutant in MUTANTS:
        if mutant.file.endswith(".py"):
            text = (PROJECT / mutant.file).read_text().replace(mutant.old, mutant.new)
            (tmp_path / f"{mutant.name}.py").write_text(text)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--output-format", "concise"]
    checked = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
