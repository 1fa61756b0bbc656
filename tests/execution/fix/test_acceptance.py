"""QuickFIX's acceptance cases for a FIX 4.4 acceptor, against ours, through sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.execution.fix.acceptance import play_all

pytestmark = pytest.mark.serial  # the cases time heartbeats

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "fix" / "acceptance_fix44"
CASES = sorted(path.stem for path in FOLDER.glob("*.def")) or ["none found"]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, shared_data: Callable[[str], Path]) -> dict[str, str]:
    """By case, why it failed, or empty; of the cases that are asked for."""
    folder = shared_data("fix/acceptance_fix44")
    chosen = {
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    return asyncio.run(play_all([folder / f"{case}.def" for case in sorted(chosen)]))


def test_cases_are_all_there(shared_data: Callable[[str], Path]) -> None:
    """The published set for FIX 4.4 has 59 cases."""
    assert len(list(shared_data("fix/acceptance_fix44").glob("*.def"))) == 59


@pytest.mark.parametrize("case", CASES)
def test_case(case: str, outcomes: dict[str, str]) -> None:
    """The acceptor answers each message of the case as the case says, and ends the session where it says."""
    assert outcomes[case] == ""
