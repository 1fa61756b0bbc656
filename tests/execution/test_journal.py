"""The journal: what is durable when, and that a crash at any commit loses and doubles nothing."""

from __future__ import annotations

import os
import signal as signals
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from execution.journal import Journal
from execution.orders import OrderRecord
from execution.reconcile import compare
from tests.execution.loopback import Fuse, Loopback
from tests.execution.rig import VENUE, make_signal
from tickloom.errors import JournalError
from tickloom.events import Execution, OrderState, Signal
from tickloom.prices import NANOS
from tickloom.records import replace

SIGNALS = [
    make_signal(1, "ALFA"),
    make_signal(2, "BRVO", "sell"),
    make_signal(3, "ALFA~BRVO"),
    make_signal(1, "ALFA"),  # the same signal again
    make_signal(4, "ALFA", "sell"),
]


def state_of(directory: Path) -> object:
    """All that must not depend on crashes: orders with their fills, executions, positions, offsets."""
    journal = Journal(directory / "journal.db", read_only=True)
    orders = sorted((o.order_id, o.state, o.filled_quantity, o.average_price) for o in journal.orders())
    fills = sorted((e.order_id, e.quantity, e.price) for _, e in journal.executions())
    offsets, signals_seen = journal.next_offsets("signals"), journal.signals()
    journal.close()
    return orders, fills, offsets, signals_seen


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process; the signal that ended it, 0 if none did."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def run(directory: Path, fuse: Fuse | None = None, together: bool = False) -> None:
    directory.mkdir(exist_ok=True)
    world = Loopback(directory, fuse)
    (world.take_together if together else world.take)(SIGNALS)
    world.close()


@pytest.mark.parametrize("together", [False, True], ids=["one_by_one", "together"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_crash_at_every_commit(tmp_path: Path, after: bool, together: bool) -> None:
    """Killed just before or after the nth commit of agent or exchange, for every n, both recover to the
    orders, executions, positions and offsets of a run that was never killed; the exchange agrees. The same
    if all signals are one transaction, and all that the exchange says of them."""
    run(tmp_path / "calm")
    expected = state_of(tmp_path / "calm")
    crashes = 0
    while True:
        directory = tmp_path / f"crash{crashes + 1}"
        ended = in_child(lambda: run(directory, Fuse(crashes + 1, after), together))  # noqa: B023
        if ended == 0:
            break
        assert ended == signals.SIGKILL
        crashes += 1
        run(directory, together=together)
        assert state_of(directory) == expected, f"crash at commit {crashes}"
        assert compare(directory / "journal.db", directory / "exchange.db", VENUE).differences == []
    # what the day's loss is measured from, five signals, and for each of five orders one commit of the
    # exchange and two reports
    assert crashes == (1 + 3 if together else 1 + 5 + 5 * 3)


def test_crash_in_the_recovery_itself(tmp_path: Path) -> None:
    """Killed again and again while it recovers, it still ends where a calm run ends."""
    run(tmp_path / "calm")
    directory = tmp_path / "crash"
    assert in_child(lambda: run(directory, Fuse(4, after=True))) == signals.SIGKILL
    for _ in range(20):
        if in_child(lambda: run(directory, Fuse(1, after=True))) == 0:
            break
    run(directory)
    assert state_of(directory) == state_of(tmp_path / "calm")


def order(order_id: str = "ID") -> OrderRecord:
    return OrderRecord(
        *(order_id, "signal", 0, "rule", "XNAS", "ALFA", "buy", 9_000_000 * NANOS, NANOS, "ioc"),
        OrderState.PENDING_NEW,
        *(1, 1),
        filled_value=10**40,
        busted_quantity=-3,
    )


def test_orders_come_back_to_the_unit(tmp_path: Path) -> None:
    """Every field survives the file, a filled value that 64 bits do not hold included."""
    journal = Journal(tmp_path / "j.db")
    with journal.transaction():
        journal.add_order(order(), sent=True)
    journal.close()
    again = Journal(tmp_path / "j.db", read_only=True)
    assert again.order("ID") == order()
    assert again.open_orders() == [order()]
    again.close()


def test_execution_is_unique_by_who_reported_it(tmp_path: Path) -> None:
    """The same execution id twice from a destination is one execution; from another one it is another."""
    journal = Journal(tmp_path / "j.db")
    one = Execution("E1", "ID", "XNAS", "ALFA", "buy", NANOS, NANOS, 1, 2)
    elsewhere = replace(one, destination="EDGX", fee=-7, liquidity="added")
    with journal.transaction():
        assert journal.add_execution(one, "rule")
        assert not journal.add_execution(one, "rule")
        assert not journal.add_execution(replace(one, destination="XNAS"), "rule")
        assert journal.add_execution(elsewhere, "rule")
    assert [found for _, found in journal.executions()] == [replace(one, destination="XNAS"), elsewhere]
    assert [found for _, found in journal.executions(destination="EDGX")] == [elsewhere]
    assert len(journal.facts_after(0, 10)) == 2
    journal.close()


def test_busts_and_corrections_say_what_stands(tmp_path: Path) -> None:
    """The first report is kept; what stands is what the venue said last; each change is a fact."""
    journal = Journal(tmp_path / "j.db")
    first = Execution("E1", "ID", "XNAS", "ALFA", "buy", 5 * NANOS, 10 * NANOS, 1, 2, "XNAS")
    second = replace(first, execution_id="E2")
    with journal.transaction():
        journal.add_execution(first, "rule")
        journal.add_execution(second, "rule")
        journal.change_execution(3, "XNAS", "E1", 8 * NANOS, 4 * NANOS, "clearly erroneous")
        journal.change_execution(4, "XNAS", "E2", 0, 0, "")
    corrected = replace(first, quantity=8 * NANOS, price=4 * NANOS)
    assert journal.executions() == [("rule", corrected)]
    assert journal.execution("XNAS", "E2") == ("rule", replace(second, quantity=0))
    assert journal.execution("EDGX", "E2") is None
    assert [found for _, found in journal.executions_as_traded()] == [first, second]
    kinds = [(one.number, one.kind, one.quantity, one.price) for one in journal.execution_changes()]
    assert kinds == [(1, "correction", 8 * NANOS, 4 * NANOS), (2, "bust", 0, 0)]
    facts = [fact for _, fact in journal.facts_after(0, 10)]
    assert facts == [first, second, corrected, replace(second, quantity=0)]
    journal.close()


def test_parents_children_and_routes(tmp_path: Path) -> None:
    """Children come back in the order in which they were made, decisions with their numbers."""
    journal = Journal(tmp_path / "j.db")
    parent = replace(order("P"), state=OrderState.NEW)
    children = [
        replace(
            order(name),
            parent_id="P",
            destination=name,
            post_only=True,
            min_quantity=3,
            order_type="midpoint",
        )
        for name in ("Z", "A")
    ]
    with journal.transaction():
        journal.add_order(parent, sent=False)
        for child in children:
            assert journal.add_route("P", 7, b'{"why":"test"}') in (0, 1)
            journal.add_order(child, sent=True)
    assert journal.children("P") == children
    assert journal.children("") == []
    assert journal.orders_sent_to("A") == [children[1]]
    assert journal.open_parents() == [parent]
    assert [(one.number, one.ts, one.decision) for one in journal.routes("P")] == [
        (0, 7, '{"why":"test"}'),
        (1, 7, '{"why":"test"}'),
    ]
    assert journal.parents() == ["P"]
    journal.close()


def test_a_journal_of_version_2_is_brought_up_to_date(tmp_path: Path) -> None:
    """Orders, executions and the order in which they were booked stay; the old venue is who reported them."""
    path = tmp_path / "j.db"
    with sqlite3.connect(path) as db:
        for table, columns in OLD_TABLES.items():
            db.execute(f"CREATE TABLE {table} ({columns})")
        db.execute("CREATE INDEX orders_open ON orders (state)")
        db.execute(
            "INSERT INTO orders VALUES ('ID', 's', 0, 'rule', 'XNAS', 'ALFA', 'buy', 9, 1, 'ioc', 'new', "
            "1, 1, 0, '0', '', '', 0, 1)"
        )
        for number in (2, 1):
            db.execute(
                f"INSERT INTO executions VALUES ({number}, 'XNAS', 'E{number}', 'ID', 'rule', 'ALFA', 'buy', "
                "5, 3, 1, 2)"
            )
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(JournalError, match="version 2"):
        Journal(path, read_only=True)
    journal = Journal(path)
    (found,) = journal.open_orders()
    assert (found.order_id, found.sent_to, found.order_type, found.post_only) == (
        "ID",
        "XNAS",
        "limit",
        False,
    )
    assert [(one.execution_id, one.destination, one.fee) for _, one in journal.executions()] == [
        ("E1", "XNAS", 0),
        ("E2", "XNAS", 0),
    ]
    assert journal.routes("ID") == []
    journal.close()
    Journal(path).close()


OLD_TABLES = {
    "orders": "order_id TEXT PRIMARY KEY, signal_id, leg, rule, venue, symbol, side, quantity, limit_price, "
    "time_in_force, state, ts_created, ts, filled_quantity, filled_value, venue_order_id, reason, revision, "
    "sent",
    "executions": "number INTEGER PRIMARY KEY AUTOINCREMENT, venue, execution_id, order_id, rule, symbol, "
    "side, price, quantity, ts, ts_recv, UNIQUE (venue, execution_id)",
}


def test_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    """An error inside a transaction takes all of it back, the facts for other systems included."""
    journal = Journal(tmp_path / "j.db")
    with pytest.raises(ZeroDivisionError), journal.transaction():
        raise ZeroDivisionError(journal.add_order(order(), sent=True))
    assert journal.orders() == []
    assert journal.facts_after(0, 10) == []
    journal.close()


def test_a_transaction_reads_what_it_has_written(tmp_path: Path) -> None:
    """Rows that wait for its end are there for each question, and of an order's changes the last counts."""
    journal = Journal(tmp_path / "j.db")
    first = order()
    second = replace(first, state=OrderState.NEW, ts=2, revision=1, venue_order_id="V1")
    third = replace(second, state=OrderState.FILLED, ts=3, revision=2, filled_quantity=NANOS)
    with journal.transaction():
        journal.add_order(first, sent=True)
        journal.update_order(second)
        assert journal.has_order("ID")
        assert journal.open_orders() == journal.orders_sent_to("XNAS") == [second]
        journal.update_order(third)
        assert journal.order("ID") == third
        journal.set_verdict("ID", 5, b"{}")
        journal.set_verdict("ID", 6, b'{"again":1}')
        assert journal.verdict("ID") == (6, '{"again":1}')
        for offset in (4, 9):
            journal.set_next_offset("signals", 1, offset)
            journal.set_next_offset("signals", 2, offset + 1)
            journal.set_last_report("one", "S", offset)
        assert journal.next_offsets("signals") == {1: 9, 2: 10}
        assert journal.last_report("one") == ("S", 9)
        assert journal.outbox_size() == len(journal.facts_after(0, 10)) == 3
        assert journal.revisions("ID") == [OrderState.PENDING_NEW, OrderState.NEW, OrderState.FILLED]
    journal.close()
    again = Journal(tmp_path / "j.db", read_only=True)
    assert again.orders() == [third]
    assert [fact for _, fact in again.facts_after(0, 10)] == [first.fact(), second.fact(), third.fact()]
    assert (again.next_offsets("signals"), again.last_report("one")) == ({1: 9, 2: 10}, ("S", 9))
    again.close()


def test_a_row_that_cannot_be_written_takes_back_its_transaction(tmp_path: Path) -> None:
    """Also where that is seen at its end only; the next transaction has nothing of it."""
    journal = Journal(tmp_path / "j.db")
    with journal.transaction():
        journal.add_order(order(), sent=True)

    def torn() -> None:
        with journal.transaction():
            journal.add_order(order("LOST"), sent=True)
            journal.set_next_offset("signals", 0, 7)
            journal.update_order(order())  # the revision is there already

    with pytest.raises(JournalError, match="UNIQUE"):
        torn()
    assert [one.order_id for one in journal.orders()] == ["ID"]
    with journal.transaction():
        journal.add_order(order("OTHER"), sent=True)
    assert journal.next_offsets("signals") == {}
    assert [one.order_id for one in journal.orders()] == ["ID", "OTHER"]
    assert [fact for _, fact in journal.facts_after(0, 10)] == [order().fact(), order("OTHER").fact()]
    journal.close()


def test_second_agent_is_kept_out(tmp_path: Path) -> None:
    """Two agents on one journal would trade twice: the second is refused while the first lives."""
    first, second = Journal(tmp_path / "j.db"), Journal(tmp_path / "j.db")
    first.lock()
    with pytest.raises(JournalError, match="another agent"):
        second.lock()
    first.close()
    second.lock()
    second.close()


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    """A file of another kind, another version, and one that is not there: each says what to do."""
    (tmp_path / "text.db").write_text("this is no database, and it is long enough to be seen as none" * 20)
    with pytest.raises(JournalError, match="No order leaves without its journal"):
        Journal(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "new.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="version 99"):
        Journal(tmp_path / "new.db")
    with pytest.raises(JournalError, match="has the agent run"):
        Journal(tmp_path / "none.db", read_only=True)


def test_outbox_keeps_facts_until_every_sink_has_them(tmp_path: Path) -> None:
    """Facts go when the slowest sink's cursor is past them."""
    journal = Journal(tmp_path / "j.db")
    facts: list[Signal] = [make_signal(number, "ALFA") for number in range(1, 6)]
    with journal.transaction():
        for fact in facts:
            journal.add_fact(fact)
        journal.set_outbox_cursor("fast", 5)
        journal.set_outbox_cursor("slow", 2)
        journal.prune_outbox(("fast", "slow"))
    assert [fact for _, fact in journal.facts_after(0, 10)] == facts[2:]
    journal.close()


def test_rows_that_wait_are_written_in_the_order_in_which_they_make_sense(tmp_path: Path) -> None:
    """An order that is new behind the change of another one: its own change is not lost."""
    journal = Journal(tmp_path / "j.db")
    one, two = order("A"), order("B")
    with journal.transaction():
        journal.add_order(one, sent=True)
    with journal.transaction():
        journal.update_order(replace(one, state=OrderState.NEW, ts=2, revision=1))
        journal.add_order(two, sent=True)
        journal.update_order(replace(two, state=OrderState.FILLED, ts=2, revision=1))
    assert [found.state for found in journal.orders()] == [OrderState.NEW, OrderState.FILLED]
    assert journal.revisions("B") == [OrderState.PENDING_NEW, OrderState.FILLED]
    journal.close()


def test_what_was_asked_at_once_holds_until_it_is_written_or_the_transaction_ends(tmp_path: Path) -> None:
    """Known and unknown ones of a batch; a row that is added is there at once; later it is asked anew."""
    journal, other = Journal(tmp_path / "j.db"), Journal(tmp_path / "j.db")
    signals = [make_signal(number, "ALFA") for number in range(5)]
    fills = [Execution(f"E{n}", "ID", "XNAS", "ALFA", "buy", NANOS, NANOS, 1, 2) for n in range(3)]
    with journal.transaction():
        journal.add_signal(signals[0], "accepted", "", 1)
        assert journal.add_execution(fills[0], "rule")
        journal.change_execution(1, "XNAS", "E1", 0, 0, "bust")
    with journal.transaction():
        journal.look_up_signals(one.signal_id for one in signals)
        journal.look_up_orders(["A", "B", "A"])
        journal.look_up_executions(("XNAS", f"E{number}") for number in range(3))
        assert [journal.has_signal(one.signal_id) for one in signals] == [True, *[False] * 4]
        assert [journal.has_execution("XNAS", f"E{number}") for number in range(3)] == [True, False, False]
        assert [len(journal.execution_changes("XNAS", f"E{number}")) for number in range(3)] == [0, 1, 0]
        journal.add_signal(signals[1], "accepted", "", 1)
        assert journal.has_signal(signals[1].signal_id)
        assert not journal.add_execution(fills[0], "rule")
        assert journal.add_execution(fills[2], "rule")
        assert not journal.add_execution(fills[2], "rule")
        journal.add_order(order("A"), sent=True)
        assert (journal.has_order("A"), journal.has_order("B")) == (True, False)
    with other.transaction():
        other.add_order(order("B"), sent=True)
        other.add_signal(signals[2], "accepted", "", 1)
    assert (journal.has_order("B"), journal.has_signal(signals[2].signal_id)) == (True, True)
    assert len(journal.executions()) == 2
    journal.close()
    other.close()
