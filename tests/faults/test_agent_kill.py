"""kill -9 of the Faust worker while signals flow: nothing lost, nothing double."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from execution.orders import client_order_id
from tests.execution.rig import VENUE, Rig, make_signal, trading_rig
from tickloom.events import OrderState, Signal

pytestmark = pytest.mark.slow

SYMBOLS = ("ALFA", "BRVO", "KILO", "ALFA~BRVO")
SIGNALS = 200
KILLS = 5
SEED = 20_240_808  # of how far the agent gets between two kills; where exactly it dies is up to the machine


def tape() -> list[Signal]:
    """Signals of all symbols, both sides, every tenth one twice."""
    made: list[Signal] = []
    for number in range(1, SIGNALS + 1):
        one = make_signal(number, SYMBOLS[number % 4], "buy" if number % 3 else "sell")
        made.append(one)
        if number % 10 == 0:
            made.append(one)
    return made


def expected_ids(signals: list[Signal]) -> set[str]:
    """What an uninterrupted run makes: one order a leg of each distinct signal."""
    return {
        client_order_id(signal.signal_id, leg)
        for signal in signals
        for leg in range(2 if "~" in signal.symbol else 1)
    }


def outcome(rig: Rig) -> set[tuple[str, OrderState, int, int]]:
    with rig.journal() as journal:
        return {
            (order.order_id, order.state, order.filled_quantity, order.average_price)
            for order in journal.orders()
        }


@pytest.mark.timeout(600)
def test_killed_while_signals_flow(tmp_path: Path) -> None:
    """Killed at five random points, the agent ends with the orders, states and fills of a run that was not
    killed; each client order id reached the exchange once, and journal and record agree."""
    signals = tape()
    chance = random.Random(SEED)
    with trading_rig(tmp_path / "calm") as calm:
        calm.publish(signals)
        calm.wait_settled(SIGNALS)
        calm.assert_consistent()
        undisturbed = outcome(calm)
    assert {row[0] for row in undisturbed} == expected_ids(signals)

    with trading_rig(tmp_path / "killed") as rig:
        published = 0
        for kill in range(1, KILLS + 1):
            upto = len(signals) * kill // (KILLS + 1)
            rig.publish(signals[published:upto])
            # in the middle of what it was just given: after a random number of orders of this portion
            portion = chance.randrange(1, upto - published)
            known = len(rig.order_ids()) + portion
            rig.wait_for("some of the orders", lambda journal, n=known: len(journal.orders()) >= n)
            pid = rig.stack.kill("agent")
            published = upto
            if kill % 2:
                rig.stack.wait_healthy("agent", not_pid=pid)
        rig.publish(signals[published:])
        rig.wait_settled(SIGNALS, timeout_s=180)
        rig.assert_consistent()
        assert outcome(rig) == undisturbed
        assert rig.compare().orders == len(expected_ids(signals))
        with rig.record() as record:
            assert {order.order_id for order in record.orders(VENUE)} == expected_ids(signals)
