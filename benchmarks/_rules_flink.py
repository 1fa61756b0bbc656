"""A broker and a Flink cluster with the tape of the rules benchmark, and rules over it on both engines."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks import _rules_tape as tapes
from streaming.compiled import program as compiled_program
from streaming.live import batch_job, client
from streaming.live.batch_job import BatchJob
from streaming.live.cluster import Cluster
from streaming.rules import Rule
from streaming.stored import history, replay
from tickloom import topics
from tickloom.events import EventBlock
from tickloom.settings import FlinkSettings, KafkaSettings
from tickloom.stack import flink as flink_server
from tickloom.stack import kafka as kafka_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

BLOCK_ROWS = 200_000
JOB_TIMEOUT_S = 1_800.0
SETTLE_S = 1.0  # for a worker that has ended to be counted with its parent


@dataclass(frozen=True, slots=True)
class Spent:
    """A run: seconds from the job's start to its end, CPU seconds of the TaskManager and its workers.

    jit_s: CPU seconds that its JVM took beside to compile itself, which are not in ``cpu_s``.
    """

    trades: int
    seconds: float
    cpu_s: float
    jit_s: float
    matches: int


@dataclass(frozen=True, slots=True)
class Steady:
    """What more trades cost, between a short and a long run: the start of the job is in both.

    per_core: trades a CPU second; per_second: trades a second of the clock. startup_s: of the short run's
    time, what its trades do not explain. jit_s: as in :class:`Spent`, of both runs.
    """

    per_core: float
    per_second: float
    startup_s: float
    cpu_s: float
    jit_s: float = 0.0

    @classmethod
    def between(cls, short: Spent, long: Spent) -> Steady:
        trades = long.trades - short.trades
        seconds, cpu_s = long.seconds - short.seconds, long.cpu_s - short.cpu_s
        if seconds <= 0 or cpu_s <= 0:
            raise RuntimeError(f"{trades:,} more trades are lost in the noise of a job's start: take more")
        startup_s = short.seconds - short.trades * seconds / trades
        return cls(trades / cpu_s, trades / seconds, startup_s, cpu_s, short.jit_s + long.jit_s)


class Servers:
    """The running servers. Topics of tapes are filled once and read by every job."""

    def __init__(self, flink: FlinkSettings, kafka: KafkaSettings) -> None:
        self.flink = flink
        # one partition, and one subtask: what is measured is a core's work
        self.kafka = kafka.model_copy(update={"tick_partitions": 1})
        self._cluster = Cluster(flink)
        self._topics: set[str] = set()
        self._signals = 0

    def _topic(self, trades: int, days: int, watermark_events: int) -> str:
        """A topic with the first ``trades`` trades of so many days of the tape."""
        topic = f"tape.{trades}.{days}.{watermark_events}"
        if topic not in self._topics:
            topics.ensure_topics([topic], self.kafka)
            replay.publish(
                tape_blocks(trades, days),
                topic,
                self.kafka,
                {tapes.VENUE},
                watermark_events=watermark_events,
            )
            self._topics.add(topic)
        return topic

    def run_sql(self, rule: Rule, trades: int, days: int = 1) -> Spent:
        """A rule by Flink's MATCH_RECOGNIZE, as `tickloom rules run` runs it: watermarks are few, because
        each costs it time for every row that waits."""
        topic, signals = self._topic(trades, days, replay.WATERMARK_EVENTS), self._signal_topic()
        options = history.bounded_options(rule, topic, signals, self.flink)
        submit = partial(client.submit, rule, options, self.flink, self.kafka)
        return self._measure(trades * days, signals, submit)

    def run_compiled(self, rule: Rule, trades: int, days: int = 1) -> Spent:
        """A rule by the compiled matcher, as the operator of a Flink job: a watermark a batch, as live."""
        topic, signals = self._topic(trades, days, 1), self._signal_topic()
        job = BatchJob(
            name=f"{rule.job_name} (compiled)",
            identity=f"{rule.name}/{signals}",
            factory=partial(compiled_program.make_program, rule),
            sources=[topic],
            target=signals,
            source={"scan.startup.mode": "earliest-offset", "scan.bounded.mode": "latest-offset"},
            # else it ends with the next checkpoint, so in whole intervals of them
            flink={"execution.checkpointing.checkpoints-after-tasks-finish": "false"},
        )
        submit = partial(batch_job.submit, job, self.flink, self.kafka)
        return self._measure(trades * days, signals, submit)

    def _signal_topic(self) -> str:
        self._signals += 1
        topic = f"signals.{self._signals}"
        topics.ensure_topics([topic], self.kafka)
        return topic

    def _measure(self, trades: int, signals: str, submit: partial[str]) -> Spent:
        before, before_jit = taskmanager_cpu_s()
        began = time.perf_counter()
        job_id = submit()
        state = self._cluster.wait_ended(job_id, JOB_TIMEOUT_S)
        seconds = time.perf_counter() - began
        if state != "FINISHED":
            raise RuntimeError(f"the job is {state}: {self._cluster.failure(job_id)}")
        time.sleep(SETTLE_S)
        cpu_s, jit_s = taskmanager_cpu_s()
        found = history.distinct(history.read_signals(signals, self.kafka))
        return Spent(trades, seconds, cpu_s - before, jit_s - before_jit, len(found))


@contextmanager
def servers(parallelism: int = 1) -> Iterator[Servers]:
    """Fresh servers, in a directory that is removed."""
    with tempfile.TemporaryDirectory(prefix="tickloom-bench-") as name:
        directory = Path(name)
        configuration = StackConfiguration.load(
            stack={"data_dir": directory, "start_timeout_s": 300},
            flink={"parallelism": parallelism, "taskmanager_heap_mb": 1_536},
        ).with_free_ports()
        os.environ.update({**configuration.environment(), **flink_server.client_environment()})
        services = [
            kafka_server.service(configuration.kafka, directory),
            *flink_server.services(configuration.flink, directory),
        ]
        with Stack(services, configuration.stack, environment={**os.environ}):
            yield Servers(configuration.flink, configuration.kafka)


def tape_blocks(trades: int, days: int = 1) -> Iterator[EventBlock]:
    """The tape's blocks, day after day."""
    symbols = tapes.symbol_table()
    for day in range(days):
        yield from tapes.blocks(tapes.make_tape(trades, day), symbols, BLOCK_ROWS)


def taskmanager_cpu_s() -> tuple[float, float]:
    """CPU seconds so far of the TaskManager and of every Python worker that it has, or had; and those of its
    JVM's compilers, which are not among them. (Of a thread of theirs that has ended the time is work.)"""
    total = compiling = 0.0
    for process in psutil.Process().children(recursive=True):
        if not _is_taskmanager(process.cmdline()):
            continue
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        compiling += _compilers_cpu_s(process)
    return total - compiling, compiling


def _compilers_cpu_s(java: psutil.Process) -> float:
    total = 0.0
    for thread in java.threads():
        name = Path(f"/proc/{java.pid}/task/{thread.id}/comm")
        try:
            if name.read_text().startswith(("C1 Compiler", "C2 Compiler")):
                total += thread.user_time + thread.system_time
        except OSError:  # it has ended
            continue
    return total


def _is_taskmanager(command: Sequence[str]) -> bool:
    java = bool(command) and Path(command[0]).name == "java"
    return java and any(word.endswith("TaskManagerRunner") for word in command)
