"""What the agent did, in QuestDB: each fact once."""

from __future__ import annotations

import pytest

from storage import QuestDbFacts, QuestDbReader, wait_applied
from tickloom.errors import ServiceError
from tickloom.events import Execution, Order, OrderState, Position, Signal, signal_id
from tickloom.prices import NO_PRICE
from tickloom.records import replace
from tickloom.settings import QuestDbSettings

TS = 1_795_180_500_123_000_000
TABLES = ("signals", "orders", "executions", "positions")


def facts_of(venue: str) -> list[Signal | Order | Execution | Position]:
    """A signal, two revisions of its order, two fills, a position."""
    identity = signal_id("spread", "1", venue, 1, 2)
    signal = Signal(identity, "spread", "1", "ALFA", "buy", 2.5, 10.25, 1, 2, venue, TS, TS + 5_000_001)
    order = Order(
        order_id=f"T{venue}",
        signal_id=identity,
        rule="spread",
        venue=venue,
        symbol="ALFA",
        side="buy",
        quantity=100 * 10**9,
        limit_price=10_250_000_001,
        state=OrderState.NEW,
        filled_quantity=0,
        average_price=int(NO_PRICE),
        reason="",
        ts=TS + 7,
        revision=0,
    )
    filled = replace(
        order,
        state=OrderState.FILLED,
        filled_quantity=100 * 10**9,
        average_price=10_240_000_000,
        reason="price collar: limit 5, value 'x' ö",
        ts=TS + 9,
        revision=1,
    )
    fill = Execution(
        "E1", order.order_id, venue, "ALFA", "buy", 10_240_000_000, 60 * 10**9, TS + 8, TS + 8_001
    )
    # of the same nanosecond, and taken for a rebate elsewhere
    other = replace(
        fill, execution_id="E2", quantity=40 * 10**9, destination="EDGX", fee=-80_000_000, liquidity="added"
    )
    position = Position(venue, "ALFA", -100 * 10**9, 10_240_000_000, -1_500_000_000, 0, int(NO_PRICE), TS + 9)
    return [fill, signal, order, other, filled, position]


def test_facts_are_stored_once(tables: QuestDbSettings, reader: QuestDbReader, venue: str) -> None:
    """All facts written twice, in two orders, are there once, to the nanosecond, NULL where there is none."""
    facts = facts_of(venue)
    sink = QuestDbFacts(tables)
    sink.write_facts(facts)
    sink.write_facts(facts[::-1])
    sink.close()
    wait_applied(tables, TABLES)
    found = {
        table: reader.query(f"SELECT * FROM {table} WHERE venue = %s ORDER BY ts", [venue]).to_pylist()
        for table in TABLES
    }
    assert {table: len(rows) for table, rows in found.items()} == {
        "signals": 1,
        "orders": 2,
        "executions": 2,
        "positions": 1,
    }
    (signal,) = found["signals"]
    assert signal["signal_id"] == signal_id("spread", "1", venue, 1, 2)
    assert (signal["ts"].value, signal["ts_signal"].value) == (TS, TS + 5_000_001)
    assert (signal["strength"], signal["ref_price"], signal["first_seq"], signal["last_seq"]) == (
        2.5,
        10.25,
        1,
        2,
    )
    new, filled = found["orders"]
    assert (new["state"], new["average_price"], new["reason"], new["revision"]) == ("new", None, "", 0)
    assert (filled["state"], filled["average_price"], filled["revision"]) == ("filled", 10.24, 1)
    assert filled["reason"] == "price collar: limit 5, value 'x' ö"
    assert new["limit_price"] == 10.250000001
    columns = ("execution_id", "quantity", "destination", "fee", "liquidity")
    assert {tuple(row[name] or None for name in columns) for row in found["executions"]} == {
        ("E1", 60.0, venue, None, None),
        ("E2", 40.0, "EDGX", -0.08, "added"),
    }
    assert {(row["destination"], row["parent_id"]) for row in found["orders"]} == {(venue, "")}
    (position,) = found["positions"]
    assert (position["quantity"], position["realised_pnl"], position["mid"]) == (-100.0, -1.5, None)


def test_a_bust_takes_the_place_of_its_execution(
    tables: QuestDbSettings, reader: QuestDbReader, venue: str
) -> None:
    """The same execution with quantity 0 is stored in the place of the one that was traded."""
    fill = Execution("E1", "T", venue, "ALFA", "buy", 10_240_000_000, 60 * 10**9, TS + 8, TS + 9, "EDGX")
    sink = QuestDbFacts(tables)
    sink.write_facts([fill])
    sink.write_facts([replace(fill, quantity=0)])
    sink.close()
    wait_applied(tables, TABLES)
    (row,) = reader.query("SELECT quantity FROM executions WHERE venue = %s", [venue]).to_pylist()
    assert row["quantity"] == 0.0


def test_dead_server_leaves_the_facts_to_the_caller(free_port: int, venue: str) -> None:
    """Without a server it raises at once, and does not wait: the caller keeps the facts."""
    sink = QuestDbFacts(QuestDbSettings.load(http_port=free_port))
    with pytest.raises(ServiceError, match=r"does not answer.*tickloom up"):
        sink.write_facts(facts_of(venue))
