"""A small trading world for tests: a market that stands still, the exchange and the agent as processes.

The quotes come once and are displayed with far more than the tests take, so what an order is filled at
follows from arithmetic, and a run with crashes can be compared with one without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Producer

from execution.exchange.process import record_path
from execution.exchange.record import ExchangeRecord
from execution.journal import Journal
from execution.reconcile import Comparison, compare
from execution.service import journal_path
from tickloom import codec, topics, trust_codec
from tickloom.clock import SystemClock
from tickloom.codec import TickBatch
from tickloom.events import (
    DELTA_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRUST_DTYPE,
    EventBlock,
    Side,
    Signal,
    StatusCode,
    SymbolTable,
    TrustReason,
    TrustState,
    make_seq,
    signal_id,
)
from tickloom.instruments import Registry
from tickloom.prices import NANOS
from tickloom.settings import KafkaSettings, QuestDbSettings
from tickloom.stack import applications
from tickloom.stack import kafka as kafka_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

VENUE = "XNAS"
SESSION = "20261121.TEST"
DAY = date(2026, 11, 21)
RULE = "test_rule"
DISPLAYED = 1_000_000 * NANOS  # shares on each side: more than a test takes
LIMITS = """
version = 1
[firm]
daily_loss_max = "1000000"
[rules.test_rule]
notional = "10000"
time_in_force = "ioc"
slippage_bps = 10
signal_age_ms_max = 3600000
event_age_ms_max = 3600000
daily_loss_max = "1000000"
[instruments.default]
position_notional_max = "100000000"
order_notional_max = "100000"
collar_bps = 100
quote_age_ms_max = 3600000
feed_age_ms_max = 3600000
"""
WAIT_S = 90.0


def standing_market(
    registry: Registry, partitions: int, seq_from: int = 1, displayed: int = DISPLAYED
) -> Iterator[tuple[str, TickBatch]]:
    """(topic, batch): each stock quoted two ticks wide around its reference, and trading."""
    now_ns = SystemClock().now_ns()
    for number, item in enumerate(registry.of_venue(VENUE)):
        symbols = SymbolTable()
        index, seq = symbols.index(item.symbol), make_seq(DAY, seq_from + number)
        bid, ask = item.reference - item.tick, item.reference + item.tick
        head = (now_ns, now_ns, seq, index)
        quotes = np.array([(*head, bid, displayed, ask, displayed, 0)], dtype=QUOTE_DTYPE)
        statuses = np.array([(*head, StatusCode.TRADING, b"T")], dtype=STATUS_DTYPE)
        deltas = np.array(
            [(*head, bid, displayed, 0, Side.BUY), (*head, ask, displayed, 0, Side.SELL)], dtype=DELTA_DTYPE
        )
        shard = topics.shard(item.symbol, partitions)
        ticks = EventBlock(VENUE, SESSION, symbols, quotes=quotes, statuses=statuses)
        yield topics.ticks(VENUE), TickBatch(shard, seq, seq, now_ns, ticks)
        yield (
            topics.book(VENUE),
            TickBatch(shard, seq, seq, now_ns, EventBlock(VENUE, SESSION, symbols, deltas=deltas)),
        )


def make_signal(number: int, symbol: str, side: str = "buy", rule: str = RULE) -> Signal:
    """A signal whose identity depends on its number only."""
    seq = make_seq(DAY, number)
    now_ns = SystemClock().now_ns()
    identity = signal_id(rule, "1", symbol, seq, seq)
    return Signal(identity, rule, "1", symbol, side, 1.0, 100.0, seq, seq, VENUE, now_ns, now_ns)


@dataclass
class Rig:
    """Kafka (``broker``), exchange and agent (``stack``)."""

    broker: Stack
    kafka: KafkaSettings
    data_dir: Path
    _producer: Producer
    environment: dict[str, str]  # of the agent and the exchange, on top of one's own
    stack: Stack = field(init=False)

    def publish_market(self, batches: Sequence[tuple[str, TickBatch]]) -> None:
        """Put tick batches on their topics and partitions."""
        for topic, batch in batches:
            self._producer.produce(topic, codec.encode(batch), partition=batch.shard)
        assert self._producer.flush(WAIT_S) == 0

    def publish_trust(self, symbol: str, state: TrustState, number: int) -> None:
        """Have the ingester say it: its change of that number."""
        symbols, seq, now_ns = SymbolTable(), make_seq(DAY, number), SystemClock().now_ns()
        row = (now_ns, now_ns, seq, symbols.index(symbol), 0, 0, seq, state, TrustReason.HEARD)
        block = EventBlock(VENUE, SESSION, symbols, trust=np.array([row], dtype=TRUST_DTYPE))
        partition = topics.shard(symbol, self.kafka.tick_partitions)
        raw = trust_codec.encode(TickBatch(partition, seq, seq, now_ns, block))
        self._producer.produce(topics.trust(VENUE), raw, f"{VENUE} {symbol}".encode(), partition)
        assert self._producer.flush(WAIT_S) == 0

    def publish(self, signals: Sequence[Signal]) -> None:
        """Put signals on their topic, each in its symbol's partition."""
        for signal in signals:
            partition = topics.shard(signal.symbol, self.kafka.tick_partitions)
            value = msgspec.json.encode(signal)
            self._producer.produce(topics.SIGNALS, value, signal.symbol.encode(), partition=partition)
        assert self._producer.flush(WAIT_S) == 0

    def publish_soon(self, signal: Signal) -> None:
        """Put one on its topic whenever the broker is there, without waiting."""
        partition = topics.shard(signal.symbol, self.kafka.tick_partitions)
        self._producer.produce(
            topics.SIGNALS, msgspec.json.encode(signal), signal.symbol.encode(), partition=partition
        )
        self._producer.poll(0)

    def publish_raw(self, value: bytes) -> None:
        """Put anything on the signals topic."""
        self._producer.produce(topics.SIGNALS, value, partition=0)
        assert self._producer.flush(WAIT_S) == 0

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """A look at the agent's journal."""
        journal = Journal(journal_path(self.data_dir), read_only=True)
        try:
            yield journal
        finally:
            journal.close()

    @contextmanager
    def record(self) -> Iterator[ExchangeRecord]:
        """A look at the exchange's record."""
        record = ExchangeRecord(record_path(self.data_dir), read_only=True)
        try:
            yield record
        finally:
            record.close()

    def compare(self) -> Comparison:
        """The reconciliation of the two."""
        return compare(journal_path(self.data_dir), record_path(self.data_dir), VENUE)

    def wait_for(self, what: str, done: Callable[[Journal], bool], timeout_s: float = WAIT_S) -> None:
        """Poll the journal until ``done``; fails with ``what`` and what the journal holds."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self.journal() as journal:
                if done(journal):
                    return
            time.sleep(0.1)
        with self.journal() as journal:
            held = [*journal.open_orders(), *journal.open_parents()]
            states = [(one.order_id, one.sent_to, one.state.value, one.reason) for one in held]
            raise AssertionError(
                f"{what} did not happen in {timeout_s} s; open: {states[-5:]}, {journal.alerts()[-5:]}"
            )

    def wait_settled(self, signals: int, timeout_s: float = WAIT_S) -> None:
        """Until so many signals are journaled and no order is open."""
        self.wait_for(
            f"{signals} signals settled",
            lambda journal: len(journal.signals()) >= signals and not journal.open_orders(),
            timeout_s,
        )

    def order_ids(self) -> set[str]:
        with self.journal() as journal:
            return {order.order_id for order in journal.orders()}

    def assert_consistent(self) -> None:
        """Journal and exchange agree, and no order was made twice."""
        assert self.compare().differences == []
        with self.journal() as journal, self.record() as record:
            sent = [order.order_id for order in journal.orders(sent_only=True)]
            taken = [order.order_id for order in record.orders()]
            assert len(taken) == len(set(taken))
            assert set(taken) <= set(sent)


@contextmanager
def trading_rig(
    data_dir: Path,
    limits: str = LIMITS,
    questdb: QuestDbSettings | None = None,
    exchange: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    displayed: int = DISPLAYED,
) -> Iterator[Rig]:
    """Kafka, exchange and agent, healthy, with a market that stands still. QuestDB is away unless given.

    ``exchange``, ``execution``: settings on top; with ``instances`` those run too.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    limits_file = data_dir / "limits.toml"
    limits_file.write_text(limits)
    configuration = StackConfiguration.load(
        stack={"data_dir": data_dir, "start_timeout_s": 180.0, "restart_backoff_ms": 50},
        kafka={"tick_partitions": 2},
        exchange={"venues": (VENUE,), **(exchange or {})},
        execution={"venues": (VENUE,), "limits_file": limits_file, "enabled": True, **(execution or {})},
    ).with_free_ports()
    environment = {**configuration.environment(), "PYTHONPATH": str(Path.cwd())}
    if questdb is not None:
        environment |= questdb.environment()
    broker_settings = configuration.stack.model_copy(update={"data_dir": data_dir / "broker"})
    broker_services = [kafka_server.service(configuration.kafka, data_dir / "broker")]
    processes = applications.instances(configuration) or [applications.exchange(configuration)]
    processes.append(applications.agent(configuration))
    with Stack(broker_services, broker_settings) as broker:
        topics.ensure_topics([topics.ticks(VENUE), topics.book(VENUE), topics.SIGNALS], configuration.kafka)
        producer = Producer(
            {"bootstrap.servers": configuration.kafka.bootstrap, "enable.idempotence": True, "log_level": 0}
        )
        rig = Rig(broker, configuration.kafka, data_dir, producer, environment)
        # the market stands before the processes start, so that they have it when they are ready
        partitions = configuration.kafka.tick_partitions
        rig.publish_market(list(standing_market(Registry.load(), partitions, displayed=displayed)))
        with Stack(processes, configuration.stack, environment=environment) as stack:
            rig.stack = stack
            yield rig
