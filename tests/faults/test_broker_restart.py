"""The broker stops for ten seconds and comes back: orders neither lost nor doubled."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from execution.orders import client_order_id
from tests.execution.rig import make_signal, trading_rig
from tickloom.events import OrderState

pytestmark = pytest.mark.slow

AWAY_S = 10.0


@pytest.mark.timeout(600)
def test_broker_away_for_ten_seconds(tmp_path: Path) -> None:
    """Signals before, and after the broker's return, each make exactly one filled order; the agent goes
    on by itself, or ends and is started again by its supervisor."""
    signals = [make_signal(number, ("ALFA", "BRVO", "KILO")[number % 3]) for number in range(1, 61)]
    with trading_rig(tmp_path) as rig:
        rig.publish(signals[:20])
        rig.wait_for("the first orders", lambda journal: len(journal.orders()) >= 5)
        rig.broker.stop_service("kafka")
        time.sleep(AWAY_S)
        rig.broker.start_service("kafka")
        rig.publish(signals[20:40])
        rig.wait_settled(40, timeout_s=180)
        rig.publish(signals[40:])
        rig.wait_settled(60)
        rig.assert_consistent()
        with rig.journal() as journal:
            orders = {order.order_id: order.state for order in journal.orders()}
        assert orders == {client_order_id(one.signal_id, 0): OrderState.FILLED for one in signals}
