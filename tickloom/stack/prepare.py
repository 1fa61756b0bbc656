"""Topics and tables, made before the processes that use them start: the service ``schema``.

Run as ``python -m tickloom.stack.prepare [TOPIC ...]``, with the topics of further ingesters; doing it again
changes nothing.
"""

from __future__ import annotations

import os
import sys

from tickloom import topics
from tickloom.errors import TickloomError
from tickloom.settings import (
    BinanceSettings,
    ExchangeSettings,
    ExecutionSettings,
    ItchSettings,
    KafkaSettings,
    PairsSettings,
)


def topic_names() -> list[str]:
    """Every topic that the configured processes write or read."""
    venues = {
        ItchSettings.load().venue,
        BinanceSettings.load().venue,
        *ExchangeSettings.load().venues,
        *ExecutionSettings.load().venues,
    }
    makers = (topics.ticks, topics.book, topics.trust)
    ticks = [maker(venue) for venue in sorted(venues) for maker in makers]
    spreads = [topics.spreads(venue) for venue in PairsSettings.load().venues]
    return [*ticks, *spreads, topics.SIGNALS, topics.ORDERS, topics.EXECUTIONS, topics.POSITIONS]


def main() -> None:
    """Make the topics, then become ``tickloom schema apply``."""
    try:
        topics.ensure_topics(sorted({*topic_names(), *sys.argv[1:]}), KafkaSettings.load())
    except TickloomError as error:
        sys.exit(str(error))
    # another process image, because the kernel imports no stage
    os.execv(sys.executable, [sys.executable, "-m", "tickloom", "schema", "apply"])


if __name__ == "__main__":
    main()
