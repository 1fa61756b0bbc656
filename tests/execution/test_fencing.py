"""One agent at a time: the lock, the epoch behind it, and what an agent may do that was taken over from."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from execution.exchange.record import ExchangeRecord
from execution.journal import Journal
from execution.venues.simulated.protocol import Logon, Logout, decode, encode
from tests.execution.loopback import Loopback
from tests.execution.rig import make_signal
from tickloom.errors import FencedError, JournalError


def note(journal: Journal) -> None:
    with journal.transaction():
        journal.risk_action(1, "note", "ann", "x")


def test_each_agent_has_a_higher_epoch(tmp_path: Path) -> None:
    """One, two, three; in between the second is kept out while the first is there."""
    path = tmp_path / "journal.db"
    for epoch in (1, 2, 3):
        journal, other = Journal(path), Journal(path)
        assert journal.lock() == epoch
        with pytest.raises(JournalError, match="another agent trades on this journal"):
            other.lock()
        assert f"epoch {epoch}" in path.with_suffix(".lock").read_text()
        note(journal)
        other.close()
        journal.close()


def test_an_agent_whose_lock_was_taken_away_sends_and_writes_nothing_more(tmp_path: Path) -> None:
    """Somebody removed the lock's file, and another agent began: the first may not send from then on, and
    writes nothing from the moment the second began. Nothing of a signal of its is left."""
    world = Loopback(tmp_path)
    world.journal.lock()
    world.journal.check_lock()
    (tmp_path / "journal.lock").unlink()
    with pytest.raises(FencedError, match="sends nothing more"):
        world.journal.check_lock()
    successor = Journal(tmp_path / "journal.db")
    assert successor.lock() == 2
    with pytest.raises(FencedError, match="agent 2 has taken over from this one, number 1"):
        world.engine.on_signal(make_signal(1, "ALFA"))
    with pytest.raises(FencedError):
        world.journal.check_lock()
    assert successor.orders() == []
    assert successor.signals() == []
    note(successor)
    successor.close()
    world.close()


def test_a_standby_takes_over_when_the_first_ends(tmp_path: Path) -> None:
    """It waits as long as there is a first, and has the next epoch."""
    first = Journal(tmp_path / "journal.db")
    first.lock()
    found: list[int] = []

    def stand_by() -> None:
        journal = Journal(tmp_path / "journal.db")
        found.append(journal.lock(wait=True))
        journal.close()

    thread = threading.Thread(target=stand_by)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    first.close()
    thread.join(10)
    assert found == [2]


def fail(journal: Journal) -> None:
    with journal.transaction():
        note(journal)
        raise ZeroDivisionError


def swallow(journal: Journal) -> None:
    with journal.transaction():
        note(journal)
        with suppress(ZeroDivisionError):
            fail(journal)


def test_transactions_in_one_another_are_one(tmp_path: Path) -> None:
    """Both parts are there, or none: also where the failure of a part was swallowed on the way."""
    journal = Journal(tmp_path / "journal.db")
    with journal.transaction():
        note(journal)
        note(journal)
    assert len(journal.risk_actions()) == 2
    with pytest.raises(ZeroDivisionError):
        fail(journal)
    assert len(journal.risk_actions()) == 2
    with pytest.raises(JournalError, match="a part of a transaction failed"):
        swallow(journal)
    assert len(journal.risk_actions()) == 2
    note(journal)
    assert len(journal.risk_actions()) == 3
    journal.close()


def test_epochs_travel_and_stay(tmp_path: Path) -> None:
    """The logon has one, the refusal says so, and the exchange knows the highest after a restart."""
    for message in (Logon("A", "S", 3, 7, "B"), Logon("A", "S"), Logout("x", fenced=True), Logout("x")):
        assert decode(encode(message)) == message
    for known in ((0, ""), (7, "x"), (7, "x")):
        record = ExchangeRecord(tmp_path / "exchange.db")
        assert (record.agent("A"), record.agent("B")) == (known, (0, ""))
        record.set_agent("A", 7, "x")
        record.close()
