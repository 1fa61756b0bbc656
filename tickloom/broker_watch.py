"""A Kafka client that has lost its broker for good, told apart from a broker that is away.

librdkafka 2.10 and later drop every broker that an answer to a Metadata request does not name, and a
broker that is being stopped names none. If the re-bootstrap that follows comes while that same answer is
still being handled, it is cancelled and never begun again: the client then has no broker, says nothing
and stays so, however long the broker has been back (librdkafka issue 5301; read in its source up to
2.15, met with 2.16.0). Only a new client helps, and whoever uses one knows how it goes on without loss.
"""

from __future__ import annotations

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tickloom.clock import NS_PER_S, Clock, SystemClock
from tickloom.settings import KafkaSettings

PATIENCE_S = (
    10.0  # without any connection, before a new client is tried; librdkafka itself retries each second
)
STATISTICS_MS = 2_000
ANSWER_S = 2.0


class _Broker(msgspec.Struct):
    state: str
    source: str


class _Statistics(msgspec.Struct):
    brokers: dict[str, _Broker]


class BrokerWatch:
    """Of one client, which is made with :meth:`configuration` and polled. Used on the thread that polls it.

    Parameters
    ----------
    patience_s : float, optional
        How long the client may be without a connection before a new one is tried.
    """

    def __init__(
        self, settings: KafkaSettings, clock: Clock | None = None, patience_s: float | None = None
    ) -> None:
        self._settings, self._clock = settings, clock or SystemClock()
        self._patience_ns = round((PATIENCE_S if patience_s is None else patience_s) * NS_PER_S)
        self._statistics = msgspec.json.Decoder(_Statistics)
        self._alone_since_ns = 0  # 0: it has a connection

    def configuration(self) -> dict[str, object]:
        """Settings for the client's constructor: it reports its connections to this watch."""
        return {"statistics.interval.ms": STATISTICS_MS, "stats_cb": self._on_statistics}

    def lost(self) -> bool:
        """True where the client has had no connection for the whole patience and a new client gets one.

        Looks for a new one at most once in the patience, and then for up to 2 s.
        """
        if not self._alone_since_ns:
            return False
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._alone_since_ns < self._patience_ns:
            return False
        self._alone_since_ns = now_ns
        return answers(self._settings)

    def _on_statistics(self, text: str) -> None:
        """``brokers``, ``state`` and ``source`` as in librdkafka's STATISTICS.md."""
        brokers = self._statistics.decode(text).brokers.values()
        if any(one.state == "UP" and one.source in ("learned", "configured") for one in brokers):
            self._alone_since_ns = 0
        elif not self._alone_since_ns:
            self._alone_since_ns = self._clock.monotonic_ns()


def answers(settings: KafkaSettings, timeout_s: float = ANSWER_S) -> bool:
    """Whether a new client finds a broker that is ready: one that names itself."""
    client = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False
