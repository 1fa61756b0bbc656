"""From the socket to the signal: both engines at 1,000, 5,000 and 20,000 ticks/s, over the whole way.

python -m benchmarks.latency [--engines flink,compiled] [--rates 1000,5000,20000] [--warm-up 240]
    [--seconds 60] [--runs 1]

    synthetic ITCH in MoldUDP64 ─▶ ingester ─▶ Kafka ticks ─▶ rule ─▶ Kafka signals ─▶ a consumer here

A signal's latency is from the kernel's time stamp of the datagram with the last message of its match
(``ts_recv``) to when a consumer has the signal's record. Ticks are trades and quotes; the book deltas that
make them travel too. Everything runs on this machine at once: generator, ingester (which captures, and
writes to Kafka only), broker, Flink with one job, consumer. Event time is real time. The baseline beside
each figure is a record sent and received by this process through the same broker at the same time.
``cpu_s`` is what the TaskManager and its Python took per second of the run. On a virtual machine the host
takes cores away for moments, and the tail is made of those: ``stolen`` is the share of all cores' time that
it took, ``calm`` the same percentile over the signals with no such moment in the second before them, and
``calm_share`` how many of the signals these are.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from streaming import rules
from streaming.live import jobs
from streaming.live.cluster import Cluster
from tickloom import codec, topics
from tickloom.events import SymbolTable
from tickloom.settings import FlinkSettings, ItchSettings, KafkaSettings
from tickloom.stack import flink as flink_server
from tickloom.stack import kafka as kafka_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

#: Intensity of the synthetic session that gives so many ticks a second; the lines say what came.
INTENSITIES = {1_000: 1.17, 5_000: 8.8, 20_000: 38.0}
VENUE = "XNAS"
FIRST_DAY = date(2024, 1, 1)  # each run has a day of its own, so that event time only goes on
QUIET_S = 2.2  # before the opening there are few messages
# Of ticks that are not counted: while the JVMs compile, they take half a core and more from all that runs
# here. With 6 s the compiled engine's median over the next 10 s is 80 ms; behind 40 s it is 7 ms, with 0.38
# of a core still compiling; behind 240 s that is 0.05. Its p99 is 27 and 63 ms behind 180 s, 22 behind 240 s.
WARM_UP_S = 240.0
ECHO_S = 0.02
CALM_NS = 1_000_000_000
CALM_SHARE = 0.01
ECHO = "latency.echo"
RULE = """\
-- rule: latency
-- version: 1
-- venue: XNAS
-- about: a trade above the one before, in the same symbol

SELECT symbol, 'buy' AS side, rise AS strength, price AS ref_price, first_seq, last_seq
FROM trades MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES A.seq AS first_seq, B.seq AS last_seq, B.price AS price, B.price - A.price AS rise
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B)
  DEFINE A AS A.price > 0, B AS B.price > A.price
)
"""


@dataclass(slots=True)
class Run:
    """What one run of one engine found. Latencies in ms."""

    latencies: list[float] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)
    echoes: list[float] = field(default_factory=list)
    stolen: float = 0.0
    ticks_s: float = 0.0
    cpu: float = 0.0


class Watcher(threading.Thread):
    """Notes when each record of some topics is here: (wall clock ns, value)."""

    def __init__(self, names: list[str], kafka: KafkaSettings) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, list[tuple[int, bytes]]] = {name: [] for name in names}
        self._stopping = threading.Event()
        # librdkafka too holds a fetch back while another is out
        waits = {"fetch.wait.max.ms": 5, "fetch.queue.backoff.ms": 1}
        group = {"group.id": "latency", "enable.auto.commit": False}
        self._consumer = Consumer({"bootstrap.servers": kafka.bootstrap, **group, **waits})
        self._consumer.assign(
            [
                TopicPartition(name, partition, _end(self._consumer, name, partition))
                for name in names
                for partition in range(kafka.tick_partitions)
            ]
        )

    def run(self) -> None:
        while not self._stopping.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and not message.error():
                self.seen[message.topic()].append((time.time_ns(), message.value()))
        self._consumer.close()

    def stop(self) -> None:
        self._stopping.set()
        self.join()


class Steal(threading.Thread):
    """Notes how much of the cores' time the host gave to other guests, four times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._samples: list[tuple[int, float]] = [(time.time_ns(), _stolen_s())]
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(0.25):
            self._samples.append((time.time_ns(), _stolen_s()))

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def share(self, from_ns: int, to_ns: int) -> float:
        """Of all cores' time between the two, 0 to 1."""
        at, stolen = np.array(self._samples).T
        first, last = np.interp([from_ns, to_ns], at, stolen)
        return float((last - first) / ((to_ns - from_ns) / 1e9 * (psutil.cpu_count() or 1)))


def _stolen_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))  # no such thing outside Linux


def _end(consumer: Any, topic: str, partition: int) -> int:
    return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=15)[1])


def ingest(environment: dict[str, str]) -> None:
    """The ingester as it is, but for QuestDB; in a process of its own, until SIGTERM."""
    os.environ.update(environment)
    from ingest.itch.session import run
    from ingest.kafka_sink import KafkaSink

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = ItchSettings.load()
    run(settings, lambda: [KafkaSink(KafkaSettings.load(), settings, VENUE)], stop)


def play(environment: dict[str, str], intensity: float, duration_s: float, day: date) -> None:
    """The synthetic venue, in a process of its own: sends as fast as the market goes."""
    os.environ.update(environment)
    from ingest.synthetic import player
    from ingest.synthetic.parameters import MarketParameters
    from tickloom.settings import SyntheticSettings

    parameters = MarketParameters(duration_s=duration_s, intensity=intensity, session_date=day)
    options = player.PlayOptions(speed=1.0, coins=False, linger_s=1.0)
    player.play(parameters, options, ItchSettings.load(), SyntheticSettings.load(), threading.Event())


@contextmanager
def process(target: Any, *arguments: Any) -> Iterator[Any]:
    """A child with an interpreter of its own, ended behind the block."""
    child = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    child.start()
    try:
        yield child
    finally:
        child.terminate()
        child.join(20)


def measure(
    engine: Any, rate: int, warm_up_s: float, seconds: float, day: date, configuration: StackConfiguration
) -> Run:
    """One session through one engine."""
    flink, kafka = configuration.flink, configuration.kafka
    folder = configuration.stack.data_dir / f"{engine}{rate}{day}"
    environment = {
        **configuration.environment(),
        "TICKLOOM_STACK_DATA_DIR": str(folder),
        "TICKLOOM_ITCH_SESSION_DATE": day.isoformat(),
    }
    topics.ensure_topics([topics.ticks(VENUE), topics.SIGNALS, ECHO], kafka)
    ticks = _ends(topics.ticks(VENUE), kafka)
    path = configuration.stack.data_dir / "latency.sql"
    path.write_text(RULE)
    (job,) = jobs.submit([rules.load(path)], flink, kafka, engine=engine)
    found = Run()
    with process(ingest, environment):
        _wait_port(configuration.itch.metrics_port)
        watcher = Watcher([topics.SIGNALS, ECHO], kafka)
        steal = Steal()
        watcher.start()
        steal.start()
        duration_s = QUIET_S + warm_up_s + seconds
        with process(play, environment, INTENSITIES[rate], duration_s, day) as player:
            _wait_ticks(ticks, kafka)
            time.sleep(QUIET_S + warm_up_s)
            began_ns, cpu = time.time_ns(), _taskmanager_cpu()
            _echo(seconds - 1.0, kafka)
            found.cpu = (_taskmanager_cpu() - cpu) / (seconds - 1.0)
            ended_ns = time.time_ns()
            player.join(30)
        time.sleep(1.0)
        watcher.stop()
        steal.stop()
    cluster = Cluster(flink)
    assert cluster.state(job.job_id) == "RUNNING", cluster.failure(job.job_id)
    cluster.cancel(job.job_id)
    received, count = _received(ticks, began_ns, ended_ns, kafka)
    found.ticks_s = count / ((ended_ns - began_ns) / 1e9)
    for at_ns, value in watcher.seen[topics.SIGNALS]:
        sent_ns = received.get(json.loads(value)["last_seq"])
        if sent_ns is not None:
            found.latencies.append((at_ns - sent_ns) / 1e6)
            if steal.share(sent_ns - CALM_NS, at_ns) < CALM_SHARE:
                found.calm.append(found.latencies[-1])
    if not found.latencies:
        raised = len(watcher.seen[topics.SIGNALS])
        raise SystemExit(
            f"{engine}@{rate}: of {len(received)} trades no signal came in time, of others {raised}: "
            "the machine is too busy"
        )
    found.stolen = steal.share(began_ns, ended_ns)
    found.echoes = [(at_ns - int(value)) / 1e6 for at_ns, value in watcher.seen[ECHO]]
    return found


def _echo(seconds: float, kafka: KafkaSettings) -> None:
    """Send the time, again and again."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0, "acks": "all"})
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        producer.produce(ECHO, str(time.time_ns()).encode())
        producer.poll(0)
        time.sleep(ECHO_S)
    producer.flush(10)


def _received(
    begin: dict[int, int], from_ns: int, to_ns: int, kafka: KafkaSettings
) -> tuple[dict[int, int], int]:
    """seq to ts_recv of the trades that came in between, and how many ticks did; ``begin``: offsets."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "latency-after"})
    found: dict[int, int] = {}
    count, symbols = 0, SymbolTable()
    for partition, low in begin.items():
        high = _end(consumer, topics.ticks(VENUE), partition)
        consumer.assign([TopicPartition(topics.ticks(VENUE), partition, low)])
        while low < high:
            for message in consumer.consume(500, 5.0):
                low = message.offset() + 1
                block = codec.decode(message.value(), symbols).block
                for records in (block.trades, block.quotes):
                    inside = records[(records["ts_recv"] >= from_ns) & (records["ts_recv"] < to_ns)]
                    count += len(inside)
                    if records is block.trades:
                        found.update(zip(inside["seq"].tolist(), inside["ts_recv"].tolist(), strict=True))
    consumer.close()
    return found, count


def _ends(topic: str, kafka: KafkaSettings) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "latency-ends"})
    ends = {partition: _end(consumer, topic, partition) for partition in range(kafka.tick_partitions)}
    consumer.close()
    return ends


def _wait_ticks(before: dict[int, int], kafka: KafkaSettings) -> None:
    """Return when the venue has begun."""
    while sum(_ends(topics.ticks(VENUE), kafka).values()) < sum(before.values()) + 20:
        time.sleep(0.2)


def _wait_port(port: int) -> None:
    """Return when the ingester answers: its kernels are compiled."""
    import httpx

    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("the ingester does not start")


def _taskmanager_cpu() -> float:
    """CPU seconds of the TaskManager and its Python workers so far."""
    total, seen = 0.0, set()
    for child in psutil.Process().children(recursive=True):
        try:
            if "TaskManagerRunner" not in " ".join(child.cmdline()):
                continue
            for one in (child, *child.children(recursive=True)):
                if one.pid not in seen:  # what starts it has its name, too
                    seen.add(one.pid)
                    total += sum(one.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def report(engine: str, rate: int, found: list[Run]) -> None:
    calm = [latency for one in found for latency in one.calm]
    for percentile in (50, 99):
        values = [float(np.percentile(one.latencies, percentile)) for one in found]
        echoes = [float(np.percentile(one.echoes, percentile)) for one in found]
        value, echo = statistics.median(values), statistics.median(echoes)
        line = {
            "metric": f"latency.{engine}.p{percentile}@{rate}",
            "value": round(value, 2),
            "unit": "ms",
            "cpu_s": round(statistics.median(one.cpu for one in found), 3),
            "stolen": round(statistics.median(one.stolen for one in found), 3),
            "calm": round(float(np.percentile(calm, percentile)), 2) if calm else None,
            "calm_share": round(len(calm) / sum(len(one.latencies) for one in found), 2),
            "runs": len(found),
            "signals": sum(len(one.latencies) for one in found),
            "ticks_s": round(statistics.median(one.ticks_s for one in found)),
            "baseline": f"Kafka producer to consumer in the same run, p{percentile}: {echo:.2f} ms",
            "ratio": round(value / echo, 2),
            "load": round(os.getloadavg()[0], 1),
        }
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--engines", default="flink,compiled")
    parser.add_argument("--rates", default=",".join(map(str, INTENSITIES)))
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S, help="seconds")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tickloom-latency-") as directory:
        configuration = StackConfiguration.load(stack={"data_dir": Path(directory)}).with_free_ports()
        os.environ.update({**configuration.environment(), **flink_server.client_environment()})
        data = configuration.stack.data_dir
        services = [
            kafka_server.service(configuration.kafka, data),
            *flink_server.services(FlinkSettings.load(), data),
        ]
        day = FIRST_DAY
        with Stack(services, configuration.stack, environment={**os.environ}):
            for rate in map(int, options.rates.split(",")):
                for engine in options.engines.split(","):
                    found = []
                    for _ in range(options.runs):
                        day += timedelta(days=1)
                        found.append(
                            measure(engine, rate, options.warm_up, options.seconds, day, configuration)
                        )
                    report(engine, rate, found)


if __name__ == "__main__":
    main()
