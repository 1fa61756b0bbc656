"""The exchange's record: what is written is what is read, in one transaction, and by version."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from execution.exchange.matching import MatchingEngine
from execution.exchange.orders import Outcome
from execution.exchange.profile import VenueProfile
from execution.exchange.record import ExchangeRecord
from execution.exchange.requests import NewOrder, OrderType, ReplaceOrder
from tests.execution.exchange.feed import CENT, REGISTRY, Market
from tickloom.errors import JournalError
from tickloom.prices import NANOS
from tickloom.records import replace


def test_orders_come_back_whole(tmp_path: Path) -> None:
    """All fields, replaced and pegged orders too; a restarted engine goes on with numbers and busts."""
    record = ExchangeRecord(tmp_path / "exchange.db")
    profiles = {
        "XNAS": VenueProfile("XNAS"),
        "DARK": VenueProfile("DARK", feed="XNAS", kind="dark"),
    }
    engine = MatchingEngine(REGISTRY, [], 0, profiles)
    engine.go_live(0)
    Market(engine).quote(100_00, 50, 100_02, 30)
    buy = NewOrder("A", "XNAS", "ALFA", "buy", 40 * NANOS, 100_02 * CENT, "day", user_ref=7)
    peg = NewOrder("P", "DARK", "ALFA", "buy", 9 * NANOS, 0, "day", OrderType.MIDPOINT, 3 * NANOS)
    record.write(engine.submit("ME", buy, 0))
    record.write(engine.submit("ME", peg, 0))
    record.write(engine.replace(ReplaceOrder("A", "B", "XNAS", "ALFA", "buy", 35 * NANOS, 100_02 * CENT), 0))
    found = {order.order_id: order for order in record.orders()}
    assert found == engine.orders
    again = MatchingEngine(REGISTRY, record.orders(), record.execution_count(), profiles, record.executions())
    again.go_live(0)
    (execution,) = record.executions()
    busted = again.bust(execution.execution_id, 0)
    assert [(report.order_id, report.filled_quantity) for _, report in busted.reports] == [("B", 0)]
    record.write(busted)
    assert record.executions() == []
    assert record.execution_count() == 1
    outcome = Market(again).quote(100_00, 50, 100_02, 30)  # what is left of B takes 5
    assert [(report.order_id, report.execution_id) for _, report in outcome.reports] == [("B", "XNAS-E2")]
    record.write(again.submit("YOU", replace(buy, order_id="C"), 0))
    assert [found.execution_id for found in record.executions()] == ["XNAS-E3"]
    record.close()


def test_streams_are_numbered_apart_and_kept(tmp_path: Path) -> None:
    """Each from 1, in the transaction of the outcome, and again after a restart."""
    record = ExchangeRecord(tmp_path / "exchange.db")
    record.write(Outcome(), [("a", b"1"), ("b", b"x"), ("a", b"2")])
    record.close()
    record = ExchangeRecord(tmp_path / "exchange.db")
    record.write(Outcome(), [("a", b"3")])
    assert record.stream_end("a") == 3
    assert record.stream_after("a", 1) == [b"2", b"3"]
    assert (record.stream_end("none"), record.stream_after("none", 0)) == (0, [])
    record.close()


def test_record_of_another_version_is_refused(tmp_path: Path) -> None:
    """It says what to do."""
    path = tmp_path / "exchange.db"
    ExchangeRecord(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 1")
    with pytest.raises(JournalError, match="move it away"):
        ExchangeRecord(path)
