"""The examples in docstrings say what is true."""

from __future__ import annotations

import doctest
import importlib

import pytest

from extract.config import PROJECT

WITH_EXAMPLES = sorted(
    f"{folder}.{file.stem}"
    for folder in ("extract", "macros", "scripts", "bench")
    for file in (PROJECT / folder).glob("*.py")
    if ">>>" in file.read_text()
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried and not failed
