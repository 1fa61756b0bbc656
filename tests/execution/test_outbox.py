"""Facts on their way out of the journal."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from execution.journal import Journal
from execution.outbox import OutboxSender
from tests.execution.rig import make_signal
from tickloom.errors import ServiceError
from tickloom.sinks import Fact

FACTS = 3_000  # several batches
WAIT_S = 60.0


class Sink:
    """Refuses the first batches, then takes what comes and notes it."""

    def __init__(self, refusals: int, until: int) -> None:
        self.refusals, self.until = refusals, until
        self.taken: list[Fact] = []
        self.calls = 0
        self.done = threading.Event()

    def write_facts(self, facts: Sequence[Fact]) -> None:
        self.calls += 1
        if self.calls <= self.refusals:
            raise ServiceError("away")
        self.taken += facts
        if len(self.taken) >= self.until:
            self.done.set()


def test_every_fact_arrives_once_and_in_order(tmp_path: Path) -> None:
    """While the agent goes on committing, one fact a transaction, and the sink is away at first; the cursor
    is where the next sender goes on."""
    path = tmp_path / "j.db"
    journal = Journal(path)
    journal.lock()
    facts: list[Fact] = [make_signal(number, "ALFA") for number in range(1, FACTS + 1)]
    sink = Sink(refusals=1, until=FACTS)
    sender = OutboxSender(path, "sink", sink)
    sender.start()
    with journal.transaction():
        for fact in facts[: FACTS // 2]:
            journal.add_fact(fact)
    for fact in facts[FACTS // 2 :]:
        with journal.transaction():
            journal.add_fact(fact)
    assert sink.done.wait(WAIT_S)
    sender.close()
    assert sink.taken == facts
    assert journal.outbox_cursor("sink") == FACTS
    later = Sink(refusals=0, until=1)
    again = OutboxSender(path, "sink", later)
    again.start()
    with journal.transaction():
        journal.add_fact(facts[0])
    assert later.done.wait(WAIT_S)
    again.close()
    assert later.taken == [facts[0]]
    journal.close()


def test_what_is_there_leaves_before_the_sender_ends(tmp_path: Path) -> None:
    """Closing a sender sends what is committed by then."""
    path = tmp_path / "j.db"
    journal = Journal(path)
    facts: list[Fact] = [make_signal(number, "ALFA") for number in range(1, FACTS + 1)]
    sink = Sink(refusals=0, until=FACTS)
    sender = OutboxSender(path, "sink", sink)
    sender.start()
    with journal.transaction():
        for fact in facts:
            journal.add_fact(fact)
    sender.close(WAIT_S)
    assert sink.taken == facts
    journal.close()
