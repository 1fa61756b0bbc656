"""Signal-to-order latency under load: from a signal's birth, by Kafka, gate and journal, to the exchange.

python -m benchmarks._signal_to_order

A signal's birth is when it is put on the topic; its order has left when it comes by on its way to the
exchange: both by one clock, that of this process, which makes the signals and is the wire. Broker, agent and
exchange are the real ones, each a process. The baseline, in the same run and at the same rate, is the least
that could be done: a row of 1.6 KB committed by SQLite (WAL, synchronous FULL), and a line to a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Producer

from execution.journal import Journal
from execution.orders import client_order_id
from execution.service import journal_path
from tests.execution.rig import LIMITS, VENUE, make_signal, standing_market
from tickloom import codec, topics
from tickloom.instruments import Registry
from tickloom.settings import StackSettings
from tickloom.stack import applications
from tickloom.stack import kafka as kafka_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.ports import free_ports
from tickloom.stack.supervisor import Stack

#: Signals/s: the most that is asked of an agent, and what some hundred pairs raise in a busy minute.
RATES = (1_000, 200)
#: Signals before those that are counted, and dealt with before: the broker's JVM compiles itself meanwhile.
WARM = 10_000
SECONDS = 10
ORDER = re.compile(rb'"MsgType":"D","ClOrdID":"([A-Z2-7]+)"')
LINE = b"x" * 200 + b"\n"
WAIT_S = 90.0


class _Wire:
    """Between agent and exchange: hands on what each says, and notes when each order came by."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.passed_ns: dict[str, int] = {}

    async def start(self, host: str, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, host, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_exchange, to_exchange = await asyncio.open_connection(self._host, self._port)
        back = asyncio.create_task(_copy(from_exchange, writer))
        with contextlib.suppress(ConnectionError):
            rest = b""
            while data := await reader.read(65_536):
                now_ns = time.time_ns()
                whole, _, rest = (rest + data).rpartition(b"\n")
                for found in ORDER.finditer(whole):
                    self.passed_ns.setdefault(found[1].decode(), now_ns)
                to_exchange.write(data)
        to_exchange.close()
        back.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


def measure(rate: int) -> tuple[list[float], list[float], float]:
    """(latencies of the agent, of the baseline, ms; CPU seconds of the agent) at so many signals/s."""
    with tempfile.TemporaryDirectory() as name:
        bare = _baseline(Path(name), rate)
        latencies, cpu_s = asyncio.run(_agent(Path(name), rate))
    return latencies, bare, cpu_s


async def _agent(directory: Path, rate: int) -> tuple[list[float], float]:
    limits_file = directory / "limits.toml"
    limits_file.write_text(LIMITS)
    configuration = StackConfiguration.load(
        stack={"data_dir": directory, "start_timeout_s": 180.0},
        kafka={"tick_partitions": 2},
        exchange={"venues": (VENUE,)},
        execution={"venues": (VENUE,), "limits_file": limits_file, "enabled": True},
    ).with_free_ports()
    exchange = configuration.exchange
    wire, (wire_port,) = _Wire(exchange.host, exchange.port), free_ports(1)
    ours = configuration.environment() | {"PYTHONPATH": str(Path.cwd())}
    theirs = {**ours, "TICKLOOM_EXCHANGE_PORT": str(wire_port)}  # the agent's way to the exchange
    broker = [kafka_server.service(configuration.kafka, directory / "broker")]
    with contextlib.ExitStack() as stacks:
        stacks.enter_context(Stack(broker, _settings(configuration, "broker")))
        producer = _market(configuration)
        venue = Stack(
            [applications.exchange(configuration)], _settings(configuration, "venue"), environment=ours
        )
        await asyncio.to_thread(stacks.enter_context, venue)
        server = await wire.start(exchange.host, wire_port)
        agent = Stack([applications.agent(configuration)], configuration.stack, environment=theirs)
        await asyncio.to_thread(stacks.enter_context, agent)
        await _signals(producer, configuration.kafka.tick_partitions, 0, WARM, max(RATES))
        await _settled(directory, WARM)
        count, before_s = rate * SECONDS, _cpu_s(agent.pid("agent"))
        began_ns = await _signals(producer, configuration.kafka.tick_partitions, WARM, count, rate)
        await _settled(directory, WARM + count)
        cpu_s = _cpu_s(agent.pid("agent")) - before_s
        server.close()
        await asyncio.to_thread(stacks.close)
    return [(wire.passed_ns[order_id] - ns) / 1e6 for order_id, ns in began_ns.items()], cpu_s


def _settings(configuration: StackConfiguration, name: str) -> StackSettings:
    """Of one stack among several: logs and state in a folder of its own."""
    return configuration.stack.model_copy(update={"data_dir": configuration.stack.data_dir / name})


def _market(configuration: StackConfiguration) -> Producer:
    """A market that stands still."""
    topics.ensure_topics([topics.ticks(VENUE), topics.book(VENUE), topics.SIGNALS], configuration.kafka)
    producer = Producer({"bootstrap.servers": configuration.kafka.bootstrap, "linger.ms": 0, "log_level": 0})
    for topic, batch in standing_market(Registry.load(), configuration.kafka.tick_partitions):
        producer.produce(topic, codec.encode(batch), partition=batch.shard)
    producer.flush(WAIT_S)
    return producer


async def _signals(producer: Producer, partitions: int, first: int, count: int, rate: int) -> dict[str, int]:
    """Client order id to when its signal was born, of so many signals behind the ``first``."""
    symbols = [one.symbol for one in Registry.load().of_venue(VENUE)]
    began_ns: dict[str, int] = {}
    start = time.perf_counter()
    for number in range(first, first + count):
        symbol = symbols[number // 2 % len(symbols)]
        signal = make_signal(number + 1, symbol, "sell" if number % 2 else "buy")
        now_ns = time.time_ns()
        signal = msgspec.structs.replace(signal, ts_signal=now_ns, ts_event=now_ns)
        began_ns[client_order_id(signal.signal_id, 0)] = now_ns
        value = msgspec.json.encode(signal)
        producer.produce(topics.SIGNALS, value, symbol.encode(), partition=topics.shard(symbol, partitions))
        producer.poll(0)
        while time.perf_counter() < start + (number - first) / rate:
            await asyncio.sleep(0.000_5)
    await asyncio.to_thread(producer.flush, WAIT_S)
    return began_ns


async def _settled(directory: Path, count: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        journal = Journal(journal_path(directory), read_only=True)
        done = len(journal.signals()) >= count and not journal.open_orders()
        journal.close()
        if done:
            return
        await asyncio.sleep(0.5)
    raise SystemExit(f"{count} signals were not dealt with in {WAIT_S} s")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _baseline(directory: Path, rate: int) -> list[float]:
    """A commit and a line over a socket, for each signal, at the same rate: ms."""
    ours, theirs = socket.socketpair()
    arrived_ns: list[int] = []

    def read() -> None:
        with theirs.makefile("rb") as lines:
            for _ in lines:
                arrived_ns.append(time.time_ns())

    reader = threading.Thread(target=read)
    reader.start()
    began_ns: list[int] = []
    with contextlib.closing(sqlite3.connect(directory / "bare.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE bare (payload BLOB)")
        start = time.perf_counter()
        for number in range(rate * SECONDS):
            time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            # born when it was due: what waits for the one before it waits, as behind Kafka
            late_ns = round((time.perf_counter() - start - number / rate) * 1e9)
            began_ns.append(time.time_ns() - late_ns)
            db.execute("INSERT INTO bare VALUES (?)", (LINE * 8,))
            ours.sendall(LINE)
    ours.close()
    reader.join()
    return [(end - begin) / 1e6 for begin, end in zip(began_ns, arrived_ns, strict=True)]


def lines() -> list[str]:
    """What is printed: median and 99th percentile, and the baseline's by ours."""
    found = []
    for rate in RATES:
        latencies, bare, cpu_s = measure(rate)
        about = {
            "unit": "ms",
            "cpu_s": round(cpu_s, 1),
            "runs": 1,
            "signals_per_s": rate,
            "baseline": "one SQLite commit and one line over a socket a signal, at the same rate",
        }
        for name, percent in (("p50_ms", 50), ("p99_ms", 99)):
            ours, theirs = (float(np.percentile(values, percent)) for values in (latencies, bare))
            metric = f"execution.signal_to_order.{name}" + ("" if rate == RATES[0] else f"@{rate}")
            value = {"metric": metric, "value": round(ours, 2), **about}
            found.append(json.dumps({**value, "ratio": round(theirs / ours, 6)}))
    return found


if __name__ == "__main__":
    print("\n".join(lines()), flush=True)
