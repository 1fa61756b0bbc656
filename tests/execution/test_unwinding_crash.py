"""A plan of a breach, killed before and after every commit, goes on where it was and sells nothing twice."""

from __future__ import annotations

import signal as signals
from pathlib import Path

import pytest

from execution.journal import Journal
from execution.reconcile import compare
from tests.execution.loopback import Fuse, Loopback
from tests.execution.rig import LIMITS, VENUE, make_signal
from tests.execution.test_engine import PLAN, trade
from tests.execution.test_journal import in_child
from tickloom.prices import NANOS

BREACHED = LIMITS.replace('daily_loss_max = "1000000"\n[inst', 'daily_loss_max = "0.60"\n[inst') + PLAN
HELD = 65
TRADED = 40  # shares, at a time; half of it may be sold
TURNS = 12


def run(directory: Path, fuse: Fuse | None = None) -> None:
    """Buy 65 shares, which is a loss past the limit at once, and let the market trade until they are sold."""
    directory.mkdir(exist_ok=True)
    world = Loopback(directory, fuse, BREACHED)
    world.take([make_signal(1, "ALFA")])
    for _ in range(TURNS):
        world.tick()
        with (directory / "volume").open("a") as log:
            log.write(f"{TRADED}\n")
        trade(world, "ALFA", TRADED)
    world.tick()
    world.close()


def check(directory: Path, crash: str) -> None:
    journal = Journal(directory / "journal.db", read_only=True)
    fills = [execution for _, execution in journal.executions()]
    sold = sum(one.quantity for one in fills if one.side == "sell") // NANOS
    bought = sum(one.quantity for one in fills if one.side == "buy") // NANOS
    actions = [(action, why) for _, action, _, why in journal.risk_actions()]
    journal.close()
    assert (bought, sold) == (HELD, HELD), crash
    volume = len((directory / "volume").read_text().splitlines()) * TRADED
    assert sold <= volume // 2, crash
    stages = [why.split(": ")[1].split(",")[0] for action, why in actions if action == "unwinding_stage"]
    assert stages == ["stop_new", "cancel_open", "flat", "done"], crash
    assert [action for action, _ in actions].count("unwinding_declared") == 1, crash
    numbers = [int(why.split(", ")[1].split(":")[0]) for action, why in actions if _is_step(action)]
    assert numbers == list(range(1, len(numbers) + 1)), crash
    assert compare(directory / "journal.db", directory / "exchange.db", VENUE).differences == [], crash


def _is_step(action: str) -> bool:
    return action.startswith("unwinding_") and action != "unwinding_refused"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_plan_killed_at_every_commit_goes_on_where_it_was(tmp_path: Path, after: bool) -> None:
    """The position is sold once, within its share of the volume; each stage is entered once, and each step
    has the number behind the one before, whoever took it."""
    run(tmp_path / "calm")
    check(tmp_path / "calm", "calm")
    crashes = 0
    while True:
        directory = tmp_path / f"crash{crashes + 1}"
        ended = in_child(lambda: run(directory, Fuse(crashes + 1, after)))  # noqa: B023
        if ended == 0:
            break
        assert ended == signals.SIGKILL
        crashes += 1
        run(directory)
        check(directory, f"crash at commit {crashes}")
    assert crashes > 15
