"""Tick batches of all partitions in, spread batches out: the features job's inside. Pure.

One instance sees every partition of ``ticks.<VENUE>``, because the legs of a pair may lie on different
ones. Event time is the lowest of the partitions' watermarks, so spreads do not depend on which
partition was read first. They leave by the pair's shard, and a shard without any gets a heartbeat
with each step of event time, so that what reads them can go on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from strategies.features.spreads import PENDING_MOVES_MAX, Spreads
from strategies.pairs.frozen import PairSet
from tickloom import codec, spread_codec, topics
from tickloom.codec import TickBatch
from tickloom.errors import CalibrationError, CodecError
from tickloom.events import EventBlock, SymbolTable

BATCH_SPREADS_MAX = 4_000  # some 360 KB on the wire; Kafka takes 1 MB


class SpreadProgram:
    """A BatchProgram (``streaming.live.operator``): one Kafka record in, records for ``spreads.<VENUE>`` out.

    Parameters
    ----------
    partitions : int
        Of the topic that is read, all of which must have been seen before anything comes out, and of
        the topic that is written.
    """

    def __init__(self, pair_set: PairSet, partitions: int, pending_max: int = PENDING_MOVES_MAX) -> None:
        self.spreads = Spreads(pair_set, pending_max)
        self._partitions = partitions
        self._symbols = SymbolTable()
        self._watermarks = np.full(partitions, -1, dtype=np.int64)
        self._last_seq = 0  # passed
        self._session = ""
        names = self.spreads.symbols.names
        self._shards: NDArray[np.int64] = np.array([topics.shard(name, partitions) for name in names])

    @property
    def late_rows(self) -> int:
        """Quotes that came behind the watermark, and were dropped."""
        return self.spreads.late_rows

    def process(self, raw: bytes) -> Sequence[tuple[bytes, bytes]]:
        """Take a batch of ticks. Returns (key, value) of each record; Kafka sends a key to its shard.

        Raises
        ------
        CodecError
            It is no batch of ticks, of another venue, or of a partition that there is not.
        FeedError
            A partition has stopped.
        """
        batch = codec.decode(raw, self._symbols)
        if batch.venue != self.spreads.pair_set.venue or not 0 <= batch.shard < self._partitions:
            raise CodecError(
                f"a batch of {batch.venue}, shard {batch.shard}, where {self.spreads.pair_set.venue} with "
                f"{self._partitions} shards is read; after a change of kafka.tick_partitions submit again"
            )
        self.spreads.push(batch.block)
        self._watermarks[batch.shard] = max(self._watermarks[batch.shard], batch.watermark)
        self._session = max(self._session, batch.session)
        before_ns = self.spreads.watermark_ns
        blocks = self.spreads.advance(int(self._watermarks.min()))
        if self.spreads.watermark_ns == before_ns:
            return []
        return [
            (topics.partition_key(one.shard, self._partitions), spread_codec.encode(one))
            for one in self._batches(blocks, before_ns)
        ]

    def snapshot(self) -> bytes:
        """The state as bytes."""
        head = self._session.encode()
        marks = self._watermarks.tobytes()
        return (
            struct.pack("<qii", self._last_seq, len(head), len(marks))
            + head
            + marks
            + self.spreads.snapshot()
        )

    def restore(self, raw: bytes) -> None:
        """Go on from a snapshot.

        Raises
        ------
        CalibrationError
            It is none, is of another venue, or the topic had another number of partitions.
        """
        try:
            self._last_seq, head, marks = struct.unpack_from("<qii", raw)
            at = struct.calcsize("<qii")
            self._session = raw[at : at + head].decode()
            watermarks = np.frombuffer(raw[at + head : at + head + marks], dtype=np.int64)
        except (struct.error, ValueError) as error:
            raise CalibrationError(
                f"no snapshot of spreads ({error}); start the job without its state"
            ) from None
        if watermarks.size != self._partitions:
            raise CalibrationError(
                f"a snapshot of {watermarks.size} partitions where {self._partitions} are; start the job "
                "without its state"
            )
        self._watermarks = watermarks.copy()
        self.spreads.restore(raw[at + head + marks :])

    def _batches(self, blocks: list[EventBlock], before_ns: int) -> list[TickBatch]:
        """Every shard's spreads in batches; the last of each carries the new watermark."""
        watermark_ns = self.spreads.watermark_ns
        passed = [int(block.spreads["seq"].max()) for block in blocks]
        self._last_seq = max(self._last_seq, *passed) if passed else self._last_seq
        by_shard = [pieces for block in blocks for pieces in self._split(block)]
        found: list[TickBatch] = []
        for shard in range(self._partitions):
            own = [block for of, block in by_shard if of == shard]
            for number, block in enumerate(own, start=1):
                seqs = block.spreads["seq"]
                mark_ns = watermark_ns if number == len(own) else before_ns
                found.append(TickBatch(shard, int(seqs.min()), int(seqs.max()), mark_ns, block))
            if not own:
                nothing = EventBlock(self.spreads.pair_set.venue, self._session, self.spreads.symbols)
                found.append(TickBatch(shard, self._last_seq, self._last_seq, watermark_ns, nothing))
        return found

    def _split(self, block: EventBlock) -> Iterator[tuple[int, EventBlock]]:
        """A block's spreads by shard, in pieces of ``BATCH_SPREADS_MAX``, each in order."""
        shards = self._shards[block.spreads["symbol"]]
        records = block.spreads[np.argsort(shards, kind="stable")]
        ends = np.cumsum(np.bincount(shards, minlength=self._partitions)).tolist()
        for shard, (begin, end) in enumerate(pairwise([0, *ends])):
            for start in range(begin, end, BATCH_SPREADS_MAX):
                piece = records[start : min(start + BATCH_SPREADS_MAX, end)]
                yield shard, EventBlock(block.venue, block.session, block.symbols, spreads=piece)
