"""The agent, the exchange, Kafka and QuestDB as they run in earnest."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import psycopg
import pytest
from confluent_kafka import Consumer

from execution.orders import client_order_id
from storage import schema
from tests.execution.rig import WAIT_S, Rig, make_signal, trading_rig
from tickloom import topics
from tickloom.events import OrderState, TrustState
from tickloom.prices import NANOS
from tickloom.settings import QuestDbSettings

pytestmark = pytest.mark.slow
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, questdb: QuestDbSettings) -> Iterator[Rig]:
    schema.apply(questdb)
    with trading_rig(tmp_path_factory.mktemp("agent"), questdb=questdb) as running:
        yield running


def settled_after(rig: Rig, more: int) -> None:
    rig.wait_settled(more)
    rig.assert_consistent()


def test_signal_becomes_one_filled_order_everywhere(rig: Rig, questdb: QuestDbSettings) -> None:
    """A buy signal of 10,000 on ALFA at 152.41 buys 65 shares; journal, exchange, QuestDB and the topics
    say so, each state once."""
    signal = make_signal(next(numbers), "ALFA")
    rig.publish([signal, signal])
    rig.wait_for("a fill", lambda journal: bool(journal.executions()))
    order_id = client_order_id(signal.signal_id, 0)
    with rig.journal() as journal:
        order = journal.order(order_id)
    assert order is not None
    assert order.state is OrderState.FILLED, order.reason
    assert (order.filled_quantity, order.average_price) == (65 * NANOS, 152_410_000_000)
    rig.assert_consistent()

    states = "SELECT state FROM orders WHERE order_id = %s ORDER BY revision"
    fills = "SELECT price, quantity FROM executions WHERE order_id = %s"
    marks = "SELECT quantity, average_price FROM positions WHERE symbol = 'ALFA'"
    assert rows(questdb, states, order_id, count=3) == [("pending_new",), ("new",), ("filled",)]
    assert rows(questdb, fills, order_id, count=1) == [(152.41, 65.0)]
    assert rows(questdb, marks, count=1)[0] == (65.0, 152.41)
    # a position is told at each fill, and sampled when its mid moved
    assert read_topics(rig, {topics.ORDERS: 3, topics.EXECUTIONS: 1, topics.POSITIONS: 1})


def test_pair_and_what_is_refused(rig: Rig) -> None:
    """A pair makes two orders; an unlimited rule, an unknown symbol and garbage make none, with a reason."""
    pair, stranger, nowhere = (
        make_signal(next(numbers), "ECHO~FXTR", "sell"),
        make_signal(next(numbers), "ALFA", rule="stranger"),
        make_signal(next(numbers), "NONE"),
    )
    rig.publish_raw(b"this is no signal")
    rig.publish([pair, stranger, nowhere])
    rig.wait_settled(4)
    with rig.journal() as journal:
        legs = [journal.order(client_order_id(pair.signal_id, leg)) for leg in (0, 1)]
        reasons = [journal.order(client_order_id(one.signal_id, 0)) for one in (stranger, nowhere)]
        alerts = [text for _, kind, text in journal.alerts() if kind == "signal"]
    assert [(leg.symbol, leg.side, leg.state) for leg in legs if leg] == [
        ("ECHO", "sell", OrderState.FILLED),
        ("FXTR", "buy", OrderState.FILLED),
    ]
    assert [order.reason.split(":")[0] for order in reasons if order] == ["rule", "instrument"]
    assert len(alerts) == 1
    assert "this is no signal" in alerts[0]
    rig.assert_consistent()


def test_an_instrument_that_is_not_trusted_is_refused_and_then_traded(rig: Rig) -> None:
    """An agent that starts knows that GOLF is stale before it decides on anything; it trades GOLF once the
    ingester says that it is trusted."""

    def decided() -> tuple[OrderState, str]:
        signal = make_signal(next(numbers), "GOLF")
        order_id = client_order_id(signal.signal_id, 0)
        rig.publish([signal])
        rig.wait_for("a decision", lambda journal: order_id in {one.order_id for one in journal.orders()})
        rig.wait_settled(0)
        with rig.journal() as journal:
            order = journal.order(order_id)
        assert order is not None
        return order.state, order.reason

    rig.publish_trust("GOLF", TrustState.STALE, 1)
    rig.stack.kill("agent")
    state, reason = decided()
    assert (state, reason.partition(":")[0]) == (OrderState.REJECTED, "trust")
    rig.publish_trust("GOLF", TrustState.TRUSTED, 2)
    for _ in range(50):  # it hears of that on another topic than of the signal
        state, reason = decided()
        if state is not OrderState.REJECTED:
            break
    assert (state, reason) == (OrderState.FILLED, "")
    rig.assert_consistent()


def test_exchange_killed_and_back(rig: Rig) -> None:
    """The exchange is killed while orders come: each signal ends in a known state, the records agree."""
    before = len(rig.order_ids())
    burst = [make_signal(next(numbers), "KILO") for _ in range(30)]
    rig.publish(burst[:15])
    rig.stack.kill("exchange")
    rig.publish(burst[15:])
    rig.wait_for("30 orders", lambda journal: len(journal.orders()) == before + 30)
    rig.wait_settled(0)
    rig.assert_consistent()


def rows(settings: QuestDbSettings, sql: str, *values: str, count: int) -> list[tuple[object, ...]]:
    """The answer, as soon as it has at least so many rows."""
    deadline = time.monotonic() + WAIT_S
    with psycopg.connect(settings.dsn, autocommit=True) as connection:
        while True:
            found = connection.execute(sql, values).fetchall()  # type: ignore[call-overload]
            if len(found) >= count or time.monotonic() > deadline:
                return list(found)
            time.sleep(0.1)


def read_topics(rig: Rig, wanted: dict[str, int]) -> bool:
    """True as soon as there are at least so many messages on each of the agent's topics."""
    consumer = Consumer(
        {
            "bootstrap.servers": rig.kafka.bootstrap,
            "group.id": "test",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(list(wanted))
    found: dict[str, int] = {}
    deadline = time.monotonic() + WAIT_S
    while any(found.get(name, 0) < count for name, count in wanted.items()) and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found[message.topic()] = found.get(message.topic(), 0) + 1
    consumer.close()
    return all(found.get(name, 0) >= count for name, count in wanted.items())
