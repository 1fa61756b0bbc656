"""A destination's quotes of a day, from its ticks on Kafka to QuestDB."""

from __future__ import annotations

from datetime import date

from confluent_kafka import KafkaError, KafkaException

from execution.signal_log import SignalLog
from storage import reader, routing
from tickloom import topics
from tickloom.clock import NS_PER_DAY
from tickloom.codec import decode
from tickloom.errors import ServiceError
from tickloom.events import QUOTE_DTYPE, EventBlock, Records, SymbolTable
from tickloom.rows import joined, picked
from tickloom.settings import KafkaSettings, QuestDbSettings


def count_quotes(settings: QuestDbSettings, venue: str, day: str) -> int:
    """How many of a venue and UTC day are stored."""
    with reader.QuestDbReader(settings) as questdb:
        return sum(questdb.count_by_symbol("quotes", venue, day=date.fromisoformat(day)).values())


def load_quotes(kafka: KafkaSettings, questdb: QuestDbSettings, venue: str, day: str) -> int:
    """Write the quotes of a venue with an event time on a UTC day; how many.

    Raises
    ------
    ServiceError
        Kafka or QuestDB is away.
    """
    from_ns = (date.fromisoformat(day) - date(1970, 1, 1)).days * NS_PER_DAY
    symbols, sessions = SymbolTable(), dict[str, list[Records]]()
    log = SignalLog(kafka, topics.ticks(venue))
    try:
        for partition, (low, high) in _ranges(log).items():
            for _, value in log.read(partition, low, high):
                batch = decode(value, symbols)
                quotes = batch.block.quotes
                ts = quotes["ts_event"]
                chosen = picked(quotes, (ts >= from_ns) & (ts < from_ns + NS_PER_DAY))
                if len(chosen):
                    sessions.setdefault(batch.session, []).append(chosen)
    finally:
        log.close()
    for session, parts in sessions.items():
        block = EventBlock(venue, session, symbols, quotes=joined(parts, QUOTE_DTYPE))
        routing.write_quotes(questdb, block)
    return sum(len(part) for parts in sessions.values() for part in parts)


def _ranges(log: SignalLog) -> dict[int, tuple[int, int]]:
    """Offsets by partition; none of a topic that there is not."""
    try:
        return log.ranges()
    except ServiceError as error:
        cause = error.__cause__
        if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return {}
        raise
