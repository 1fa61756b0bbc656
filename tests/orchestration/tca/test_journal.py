"""Which orders of a journal are one decision, and what was filled for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.journal import Journal
from execution.lineage.records import Records, journal_path
from execution.orders import OrderRecord
from orchestration.tca.journal import parents
from orchestration.tca.terms import Parent
from tickloom.events import Execution, OrderState, Signal
from tickloom.prices import NANOS
from tickloom.records import replace

T0 = 1_795_185_000_000_000_000
ORDER = OrderRecord(
    *("A", "s", 0, "probe", "XNAS", "ALFA", "buy", 300 * NANOS, 101 * NANOS, "ioc"),
    *(OrderState.FILLED, T0, T0 + 9),
)


def execution(order: OrderRecord, number: str, quantity: int, destination: str = "") -> Execution:
    return Execution(
        *(number, order.order_id, order.venue, order.symbol, order.side, 100 * NANOS, quantity * NANOS),
        *(T0 + 5, T0 + 6, destination, 7, "removed"),
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    found = Journal(journal_path(tmp_path))
    yield found
    found.close()


def read(journal: Journal) -> list[Parent]:
    with Records(journal.path) as records:
        return list(parents(records, "XNAS", T0, T0 + 1_000))


def test_an_order_alone_is_its_own_parent(journal: Journal) -> None:
    """With the time of its signal; an order of another venue, or of before, is not of this day."""
    with journal.transaction():
        journal.add_signal(
            Signal("s", "probe", "1", "ALFA", "buy", 1, 1, 1, 2, "XNAS", 77, 88), "accepted", "", T0
        )
        journal.add_order(ORDER, sent=True)
        journal.add_execution(execution(ORDER, "E1", 100), "probe")
        journal.add_order(replace(ORDER, order_id="B", venue="BINANCE"), sent=True)
        journal.add_order(replace(ORDER, order_id="C", ts_created=T0 - 1), sent=True)
    (found,) = read(journal)
    assert (found.order_id, found.ts_signal, found.ts_sent, found.ts_ended) == ("A", 77, T0, T0 + 9)
    (fill,) = found.fills
    assert (fill.destination, fill.quantity, fill.fee, fill.liquidity) == ("XNAS", 100 * NANOS, 7, "removed")


def test_a_parent_has_its_childrens_fills(journal: Journal) -> None:
    """One row for the decision, with what each destination filled; children are no orders of their own."""
    with journal.transaction():
        journal.add_order(ORDER, sent=False)
        for name, destination in (("K1", "XBOS"), ("K2", "DARK")):
            child = replace(ORDER, order_id=name, parent_id="A", destination=destination, leg=1)
            journal.add_order(child, sent=True)
            journal.add_execution(execution(child, "E1", 50, destination), "probe")
    (found,) = read(journal)
    assert [(fill.destination, fill.quantity) for fill in found.fills] == [
        ("XBOS", 50 * NANOS),
        ("DARK", 50 * NANOS),
    ]
    assert found.quantity == 300 * NANOS


def test_what_the_gate_refused_is_no_order(journal: Journal) -> None:
    """It was never sent and has no children: nothing was decided."""
    with journal.transaction():
        journal.add_order(replace(ORDER, state=OrderState.REJECTED), sent=False)
    assert read(journal) == []


def test_a_replaced_order_is_one_with_its_replacement(journal: Journal) -> None:
    """Decided when the first was made, ended when the last did, with the quantity asked for last."""
    second = replace(ORDER, order_id="B", original_order_id="A", ts_created=T0 + 3, ts=T0 + 20)
    second = replace(second, quantity=200 * NANOS, state=OrderState.CANCELLED)
    with journal.transaction():
        journal.add_order(replace(ORDER, state=OrderState.REPLACED), sent=True)
        journal.add_execution(execution(ORDER, "E1", 60), "probe")
        journal.add_order(second, sent=True)
        journal.add_execution(execution(second, "E2", 40), "probe")
    (found,) = read(journal)
    assert (found.order_id, found.ts_sent, found.ts_ended) == ("A", T0, T0 + 20)
    assert (found.quantity, found.filled) == (200 * NANOS, 100 * NANOS)


def test_a_refused_replacement_changes_nothing(journal: Journal) -> None:
    """The venue kept the first: its quantity and its end count."""
    second = replace(ORDER, order_id="B", original_order_id="A", ts_created=T0 + 3, ts=T0 + 4)
    second = replace(second, quantity=900 * NANOS, state=OrderState.REJECTED)
    with journal.transaction():
        journal.add_order(ORDER, sent=True)
        journal.add_order(second, sent=True)
    (found,) = read(journal)
    assert (found.quantity, found.ts_ended, found.state) == (300 * NANOS, T0 + 9, "filled")


def test_busts_and_corrections_count_as_they_stand(journal: Journal) -> None:
    """What was taken back costs nothing; what was corrected costs what it is now."""
    with journal.transaction():
        journal.add_order(ORDER, sent=True)
        journal.add_execution(execution(ORDER, "E1", 60), "probe")
        journal.add_execution(execution(ORDER, "E2", 40), "probe")
        journal.change_execution(T0, "XNAS", "E1", 0, 0, "error")
        journal.change_execution(T0, "XNAS", "E2", 30 * NANOS, 99 * NANOS, "price")
    (found,) = read(journal)
    assert [(fill.quantity, fill.price) for fill in found.fills] == [(30 * NANOS, 99 * NANOS)]


def test_an_open_order_has_not_ended(journal: Journal) -> None:
    """Its end is not known yet."""
    with journal.transaction():
        journal.add_order(replace(ORDER, state=OrderState.NEW), sent=True)
    assert [found.ts_ended for found in read(journal)] == [0]
