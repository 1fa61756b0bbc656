"""The routing file: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.router.settings import load, parse
from tickloom.errors import RoutingError
from tickloom.prices import NANOS


def test_the_file_of_the_repository_is_read() -> None:
    """Every key of it is known, and its digest names it."""
    found = load()
    assert found.legs.leg_risk_max == 10_000 * NANOS
    assert (found.routing.rounds_max, len(found.digest), found.revision) == (12, 12, 1)


def test_what_is_left_out_has_a_default() -> None:
    """A version is all that must be there; without leg_risk_max there is no such limit."""
    found = parse(b"version = 1", "x")
    assert (found.take.levels_max, found.legs.leg_risk_max) == (5, None)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "version = None; this program reads version 1"),
        ("version = 2", "version = 2"),
        ("version = true", "version = True"),
        ("version = 1\n[dork]", "unknown key 'dork'; did you mean 'dark'?"),
        ("version = 1\n[dark]\npings = 1", "unknown key 'pings'; did you mean 'pings_max'?"),
        ("version = 1\n[dark]\nfill_prior = 1.1", "fill_prior = 1.1"),
        ("version = 1\n[dark]\nleak_bps = nan", "leak_bps = nan"),
        ("version = 1\n[post]\nwait_ms = 2.5", "wait_ms = 2.5"),
        ("version = 1\n[legs]\nleg_risk_max = 10.5", "write amounts as text"),
        ("version = 1\n[learn]\nprior_weight = 0", "prior_weight = 0"),
        ("version = 1\n[learn]\nbackoff_ms = 5000\nbackoff_ms_max = 4999", "backoff_ms is above"),
        ("version = 1\nrouting = 3", "routing is no table"),
        ("version = 1\nrevision = -1", "revision = -1"),
        ("version = ", "not TOML"),
    ],
)
def test_a_malformed_file_is_refused_whole(text: str, finding: str) -> None:
    """The message has the key, what is wrong, and that nothing is in force."""
    with pytest.raises(RoutingError, match="whole file is refused") as caught:
        parse(text.encode(), "routing.toml")
    assert finding in str(caught.value)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """Restore it."""
    with pytest.raises(RoutingError, match="Restore it"):
        load(tmp_path / "none.toml")
