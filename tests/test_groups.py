"""Tests that share something costly run in one process, which makes it once."""

from __future__ import annotations

import os

import pytest

from tests.redshift_standin import RedshiftStandin


def test_what_runs_on_the_stand_in_is_one_group(redshift: RedshiftStandin, request: pytest.FixtureRequest) -> None:
    """With pytest 9.2 the groups of pytest-xdist 3.8 are lost in silence: each process starts a stand-in and plans."""
    assert [mark.args for mark in request.node.iter_markers("xdist_group")] == [("redshift",)]
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@redshift")
