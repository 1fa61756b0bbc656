"""Facts out of the journal, to QuestDB and Kafka, each at its own pace, until they have arrived.

A sender reads behind its own cursor, writes a batch to its sink and then moves the cursor. A sink that is
away is tried again for ever, and costs disk space only; after a crash the last batch is written again,
which changes nothing, because every fact carries its identity.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from confluent_kafka import KafkaException, Producer

from execution import metrics
from execution.journal import Journal
from tickloom import topics
from tickloom.errors import JournalError, ServiceError, StorageError
from tickloom.events import Execution, Order, Position
from tickloom.prices import NANOS
from tickloom.settings import KafkaSettings
from tickloom.sinks import Fact, FactSink

FACTS_MAX = 1_000  # a batch
POLL_S = 0.1  # between two looks, also while facts keep coming: a commit and a wake-up for many, not for each
RETRY_S_MAX = 5.0
FLUSH_S = 10.0

_log = structlog.get_logger("outbox")

_TOPICS: dict[type[Any], str] = {
    Order: topics.ORDERS,
    Execution: topics.EXECUTIONS,
    Position: topics.POSITIONS,
}
#: Fields in nanos, which travel as doubles.
_NANOS_FIELDS = frozenset(
    {
        *("quantity", "limit_price", "filled_quantity", "average_price", "price", "fee"),
        *("realised_pnl", "unrealised_pnl", "mid"),
    }
)


class KafkaFacts:
    """Orders, executions and positions as JSON on their topics; the key is the symbol."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._bootstrap = settings.bootstrap
        self._producer: Any = None

    def write_facts(self, facts: Sequence[Fact]) -> None:
        """Return when the broker has them all.

        Raises
        ------
        ServiceError
            It did not take them; they are to be sent again.
        """
        failed: list[str] = []

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                failed.append(str(error))

        if self._producer is None:
            self._producer = Producer(self._configuration())
        try:
            for fact in facts:
                topic = _TOPICS.get(type(fact))
                if topic is not None:
                    self._producer.produce(
                        topic, wire_fact(fact), fact.symbol.encode(), on_delivery=delivered
                    )
                    self._producer.poll(0)
            left = self._producer.flush(FLUSH_S + 1)
        except (KafkaException, BufferError) as error:
            self._let_go()
            raise ServiceError(f"Kafka at {self._bootstrap}: {error}") from error
        if left or failed:
            self._let_go()
            raise ServiceError(f"Kafka at {self._bootstrap}: {failed[0] if failed else 'no answer'}")

    def _configuration(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._bootstrap,
            "enable.idempotence": True,
            "message.timeout.ms": int(FLUSH_S * 1_000),
            "log_level": 0,
        }

    def _let_go(self) -> None:
        """The next attempt has a new client: one may have lost the broker for good, see broker_watch."""
        self._producer.purge()
        self._producer.flush(1)
        self._producer = None


def wire_fact(fact: Fact) -> bytes:
    """A fact as JSON; nanos become doubles."""
    fields = msgspec.to_builtins(fact)
    return msgspec.json.encode(
        {name: value / NANOS if name in _NANOS_FIELDS else value for name, value in fields.items()}
    )


class OutboxSender:
    """One sink's thread."""

    def __init__(self, journal_path: Path, name: str, sink: FactSink) -> None:
        self.name = name
        self._path, self._sink = journal_path, sink
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"outbox-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what is there, as far as the time goes; the rest waits in the journal."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        journal = Journal(self._path)
        journal.serve_outbox()
        wait_s = POLL_S
        try:
            cursor = journal.outbox_cursor(self.name)
            while True:
                stopping, sent = self._stop.is_set(), cursor
                try:
                    sent = self._send(journal, cursor)
                    if wait_s > POLL_S:
                        _log.info("sink_back", sink=self.name)
                    wait_s = POLL_S
                except (ServiceError, StorageError) as error:
                    if wait_s == POLL_S:
                        _log.warning("sink_away", sink=self.name, error=str(error))
                    wait_s = min(2 * wait_s, RETRY_S_MAX)
                if sent == cursor and stopping:
                    return
                if sent - cursor < FACTS_MAX:
                    self._stop.wait(wait_s)
                cursor = sent
        except JournalError:
            _log.exception("outbox_failed", sink=self.name)
        finally:
            journal.close()

    def _send(self, journal: Journal, cursor: int) -> int:
        facts = journal.facts_after(cursor, FACTS_MAX)
        metrics.OUTBOX.labels(self.name).set(len(facts))
        if not facts:
            return cursor
        self._sink.write_facts([fact for _, fact in facts])
        last_id = facts[-1][0]
        with journal.transaction():
            journal.set_outbox_cursor(self.name, last_id)
        return last_id
