"""Tick batches in, records out, inside a Flink worker: the Python operator that hosts a program a shard.

Flink hands over raw Kafka records; a :class:`BatchProgram` decodes them and works on whole batches.
``streaming.live.batch_job`` builds the job around this operator. What it holds to:

- A checkpoint has the state that belongs to its source offsets. To write a program's whole state with
  every record may cost more than the program; so Flink's keyed state has a snapshot and the raw records
  since, and a restored program takes the snapshot and processes those records again, whose outputs are
  out already. Once these have as many bytes as the snapshot, or are :data:`LOG_RECORDS_MAX`, a new one
  takes their place: so a checkpoint is at most about twice the state. A program must therefore be a
  function of the records it was given, but for clocks.
- What a record gives leaves Python in one row (``packing``; ``java/Unpack.java`` takes it apart).
- A record that is no tick batch goes to the quarantine topic with its bytes, and the stream goes on.

This module runs in workers that PyFlink starts: it imports nothing heavy, and Numba only by the program.
"""

from __future__ import annotations

import base64
import builtins
import json
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import cloudpickle  # type: ignore[import-untyped]
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor

from streaming.live import code
from streaming.live.packing import Output, packed
from tickloom.clock import Clock, SystemClock
from tickloom.errors import CodecError, ServiceError

LOG_RECORDS_MAX = 512  # that a restored program processes again, at most: the restore waits for them
ERROR_CHARS_MAX = 1_000
#: Metrics of the operator. The name of the first is Flink's own for rows behind the watermark.
LATE_METRIC = "numLateRecordsDropped"
QUARANTINED_METRIC = "numRecordsQuarantined"

_worker_main = sys.modules.get("pyflink.fn_execution.beam.beam_sdk_worker_main")
if _worker_main is not None:  # a worker process has a print of its own, which Numba looks for in its module
    _worker_main.print = builtins.print  # type: ignore[attr-defined]


class BatchProgram(Protocol):
    """What a job does with the records of one shard, or of all. It may have a counter ``late_rows``."""

    def process(self, raw: bytes) -> Sequence[Output]:
        """Take one Kafka record (a tick batch); the (key, value) records that it gives, packed or to be.

        Raises
        ------
        CodecError
            It is no tick batch; the program is as it was before.
        """
        ...

    def snapshot(self) -> bytes:
        """The state, from which :meth:`restore` goes on."""
        ...

    def restore(self, raw: bytes) -> None:
        """Take the state of a program of the same identity."""
        ...


Factory = Callable[[], BatchProgram]


class Cell(Protocol):
    """A value in Flink's keyed state."""

    def value(self) -> Any: ...
    def update(self, value: Any) -> None: ...


class Log(Protocol):
    """A list in Flink's keyed state."""

    def get(self) -> Any: ...
    def add(self, value: Any) -> None: ...
    def clear(self) -> None: ...


class Hosted:
    """A program and its state in Flink.

    Parameters
    ----------
    identity : str
        Whose state this is: the job refuses a state that another identity wrote.
    """

    def __init__(self, program: BatchProgram, identity: str, snapshot: Cell, log: Log) -> None:
        self.program = program
        self._identity = identity.encode()
        self._snapshot, self._log = snapshot, log
        self._records = self._bytes = 0
        self._state_bytes = 0  # of the last snapshot
        self._restore()

    def process(self, raw: bytes) -> Sequence[Output]:
        """Outputs of a record, once the record is part of the state.

        Raises
        ------
        CodecError
            It is no tick batch, and did not become part of the state.
        """
        outputs = self.program.process(raw)
        self._records += 1
        self._bytes += len(raw)
        if self._records > LOG_RECORDS_MAX or self._bytes > self._state_bytes:
            state = self.program.snapshot()
            self._snapshot.update(self._packed(state))
            if self._records > 1:
                self._log.clear()
            self._records = self._bytes = 0
            self._state_bytes = len(state)
        else:
            self._log.add(raw)
        return outputs

    def _restore(self) -> None:
        stored = self._snapshot.value()
        if stored is None:
            # an identity from the first record on, so that a log without a snapshot is never mistaken
            self._snapshot.update(self._packed(b""))
            return
        state = self._unpacked(stored)
        self._state_bytes = len(state)
        if state:
            self.program.restore(state)
        for raw in self._log.get() or ():
            self.program.process(raw)
            self._records += 1
            self._bytes += len(raw)

    def _packed(self, state: bytes) -> bytes:
        return struct.pack("<I", len(self._identity)) + self._identity + state

    def _unpacked(self, stored: bytes) -> bytes:
        (length,) = struct.unpack_from("<I", stored)
        identity = stored[4 : 4 + length]
        if identity != self._identity:
            raise ServiceError(
                f"the state is of {identity.decode()!r}, this job is {self._identity.decode()!r}. "
                "Submit it without that savepoint."
            )
        return stored[4 + length :]


class ShardFunction(KeyedProcessFunction):  # type: ignore[misc]
    """The operator. Rows in: record, topic, partition, offset. Rows out: packed records, topic.

    Parameters
    ----------
    factory : callable
        Makes a program, in the worker. Pickled apart from the operator, so that what it refers to is
        imported when the worker is ready to.
    whole : bool
        One program for all partitions, not one for each.
    """

    def __init__(
        self,
        factory: Factory,
        identity: str,
        target: str,
        quarantine: str,
        *,
        whole: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._pickled = cloudpickle.dumps(factory)
        self._identity, self._target, self._quarantine = identity, target, quarantine
        self._whole = whole
        self._clock = clock or SystemClock()

    def open(self, runtime_context: RuntimeContext) -> None:
        with code.lock:
            code.refresh()
            self._make: Factory = cloudpickle.loads(self._pickled)
            code.remember()
        kind = Types.PICKLED_BYTE_ARRAY()  # the one type that is the same in a thread and in a process
        self._snapshot = runtime_context.get_state(ValueStateDescriptor("snapshot", kind))
        self._log = runtime_context.get_list_state(ListStateDescriptor("log", kind))
        self._programs: dict[int, Hosted] = {}
        self._late_rows: dict[int, int] = {}
        metrics = runtime_context.get_metrics_group()
        self._late = metrics.counter(LATE_METRIC)
        self._quarantined = metrics.counter(QUARANTINED_METRIC)

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        raw, topic, partition, offset = value[0], value[1], value[2], value[3]
        shard = -1 if self._whole else partition
        hosted = self._programs.get(shard)
        if hosted is None:  # state can be read only now that Flink has set the key
            hosted = self._programs[shard] = Hosted(self._make(), self._identity, self._snapshot, self._log)
            self._late_rows[shard] = late_rows(hosted.program)
            code.remember()
        if raw is None:  # a record without a value
            raw = b""
        try:
            outputs = hosted.process(raw)
        except CodecError as error:
            self._quarantined.inc()
            kept = quarantine_record(topic, partition, offset, self._clock.now_ns(), error, raw)
            yield Row(packed([kept]), self._quarantine)
            return
        if outputs:
            yield Row(packed(outputs), self._target)
        late = late_rows(hosted.program)
        if late != self._late_rows[shard]:
            self._late.inc(late - self._late_rows[shard])
            self._late_rows[shard] = late


def late_rows(program: Any) -> int:
    """What a program counted of rows behind the watermark; 0 where it does not count."""
    return int(getattr(program, "late_rows", 0))


def quarantine_record(
    topic: str, partition: int, offset: int, time_ns: int, error: Exception, raw: bytes
) -> Output:
    """(key, value) of what is kept of a record that could not be decoded; where it was is its identity."""
    kept = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "time": time_ns,
        "error": str(error)[:ERROR_CHARS_MAX],
        "bytes": base64.b64encode(raw).decode(),
    }
    return f"{topic}/{partition}/{offset}".encode(), json.dumps(kept).encode()
