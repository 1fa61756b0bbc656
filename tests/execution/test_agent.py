"""The agent, the exchange and Kafka as they run in earnest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from execution.orders import client_order_id
from tests.execution.rig import Rig, make_signal, trading_rig
from tickloom.events import OrderState
from tickloom.prices import NANOS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with trading_rig(tmp_path_factory.mktemp("agent")) as running:
        yield running


def test_signal_becomes_one_filled_order(rig: Rig) -> None:
    """A buy signal of 10,000 on ALFA at 152.41 buys 65 shares there, and the exchange agrees."""
    signal = make_signal(1, "ALFA")
    rig.publish([signal])
    rig.wait_settled(1)
    with rig.journal() as journal:
        order = journal.order(client_order_id(signal.signal_id, 0))
    assert order is not None
    assert order.state is OrderState.FILLED, order.reason
    assert order.filled_quantity == 65 * NANOS
    assert order.average_price == 152_410_000_000
    rig.assert_consistent()
