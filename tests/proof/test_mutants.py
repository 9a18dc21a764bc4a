"""The mutants run once a day; here, that each of them can still be made."""

from __future__ import annotations

from tests.proof.mutants import MUTANTS, PROJECT


def test_the_text_of_every_mutant_stands_where_it_says() -> None:
    lost = [mutant.name for mutant in MUTANTS if (PROJECT / mutant.file).read_text().count(mutant.old) != 1]
    assert not lost
    for mutant in MUTANTS:
        if mutant.file.endswith(".py"):  # a copy that is no Python shows nothing
            compile((PROJECT / mutant.file).read_text().replace(mutant.old, mutant.new), mutant.name, "exec")
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 30
