"""The kill switch in the middle of a burst, on real processes; and with Kafka and QuestDB dead."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.execution.rig import LIMITS, RULE, VENUE, Rig, make_signal, trading_rig
from tickloom.cli.risk import app
from tickloom.events import OrderState
from tickloom.instruments import Registry
from tickloom.stack import kafka as kafka_server

pytestmark = pytest.mark.slow

RATE = 1_000
BURST = 2_000
_STOCKS = sorted(Registry.load().of_venue(VENUE), key=lambda item: item.reference)
#: A second rule orders for 160 million; a million shares are displayed, so of the cheap stocks some rests.
RESTING = tuple(item.symbol for item in _STOCKS[:6])
BURSTING = tuple(item.symbol for item in _STOCKS[6:12])
DEEP = """
[rules.deep]
notional = "160000000"
time_in_force = "day"
slippage_bps = 10
signal_age_ms_max = 3600000
event_age_ms_max = 3600000
daily_loss_max = "1000000"
"""
WIDE = (
    LIMITS.replace('order_notional_max = "100000"', 'order_notional_max = "1000000000"').replace(
        'position_notional_max = "100000000"', 'position_notional_max = "1000000000"'
    )
    + DEEP
)


def halt(why: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["halt", "--why", why, "--who", "ann", "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def burst(rig: Rig, symbols: list[str]) -> None:
    """A thousand signals a second."""
    began = time.monotonic()
    for number in range(BURST):
        side = "buy" if number // len(symbols) % 2 else "sell"
        rig.publish_soon(make_signal(1_000 + number, symbols[number % len(symbols)], side))
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))


def at_exchange(rig: Rig) -> set[str]:
    with rig.record() as record:
        return {order.order_id for order in record.orders()}


@pytest.mark.timeout(300)
def test_nothing_leaves_after_a_halt_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    """1,000 signals a second, halted in the middle: what the exchange has when the halt is answered is all
    that it ever gets; what rested is cancelled; the journal says so. With Kafka killed it does the same."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path / "rig"))
    with trading_rig(tmp_path / "rig", limits=WIDE) as rig:
        rig.publish([make_signal(1 + n, symbol, rule="deep") for n, symbol in enumerate(RESTING)])
        rig.wait_for("resting orders", lambda journal: len(journal.executions()) >= len(RESTING))
        with rig.journal() as journal:
            resting = [order for order in journal.open_orders() if order.leaves]
        assert len(resting) == len(RESTING)
        thread = threading.Thread(target=burst, args=(rig, list(BURSTING)))
        thread.start()
        rig.wait_for("the burst", lambda journal: len(journal.orders()) > 200)
        answer = halt("fire drill")
        taken = at_exchange(rig)
        record_property("halt", json.dumps(answer))
        thread.join()
        rig.wait_settled(len(RESTING) + BURST)
        assert at_exchange(rig) == taken
        rig.assert_consistent()
        assert answer["last_order_ms"] <= answer["acknowledged_ms"]
        assert (answer["left_open"], answer["unknown"]) == (0, 0)
        with rig.journal() as journal:
            orders = {order.order_id: order for order in journal.orders()}
            done = [
                why for _, action, who, why in journal.risk_actions() if (action, who) == ("halted", "ann")
            ]
        for order in orders.values():
            if order.order_id not in taken:
                assert order.state is OrderState.REJECTED
                assert "halted: fire drill (ann)" in order.reason or "fire drill" in order.reason
        assert {orders[one.order_id].state for one in resting} == {OrderState.CANCELLED}
        assert 0 < len([one for one in taken if orders[one].rule == RULE]) < BURST
        assert len(done) == 1
        assert "acknowledged" in done[0]

        rig.broker.kill(kafka_server.NAME, signal.SIGKILL)
        CliRunner().invoke(app, ["resume", "--why", "all well", "--who", "bob"])
        again = halt("Kafka is dead")
        assert again["left_open"] == 0
        record_property("halt_without_kafka", json.dumps(again))
