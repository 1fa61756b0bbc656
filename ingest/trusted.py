"""A feed's decoder, and its changes of trust beside the events: where the state machine meets the capture.

Whatever influences trust is in the capture (docs/decisions/0010). A CLOCK record says which limits hold, and,
while nothing comes, that time goes on; so a silence is seen live, and a replay sees it at the same place.

A capture gives the same changes however it is cut into batches. Silence is looked for at fixed places: where
the receive clock enters another stretch of :attr:`ingest.trust.StaleLimits.check_ns`, and at each record that
is not the venue's. What was decoded before such a place is all that counts there, and batches are cut there.
The receive clock is the latest receive time so far: when the machine's clock is set back, it waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import RecordKind
from ingest.clock_records import limits_from
from ingest.decoder import Decoder
from ingest.feeds import session_date
from ingest.trust import TrustMachine
from tickloom.events import EventBlock, NewsBlock, TrustState, seq_base
from tickloom.rows import joined


class TrustedDecoder:
    """A decoder whose blocks have ``trust``. A :class:`ingest.decoder.Decoder` itself.

    Records of kind CLOCK do not reach the feed's own decoder: they are not the venue's, and neither its
    numbers nor its silence are to change by them.

    Parameters
    ----------
    decoder : Decoder
        The feed's own, fresh.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.inner = decoder
        self.venue, self.session = decoder.venue, decoder.session
        base = seq_base(session_date(decoder.session))
        self._machine = TrustMachine(base, tells_books=getattr(decoder, "tells_books", False))
        self._check_ns = self._clock_ns = 0
        self._stretch = -1  # of the receive clock, which was looked at last

    @property
    def end_ns(self) -> int:
        return self.inner.end_ns

    @property
    def watermark_ns(self) -> int:
        return self.inner.watermark_ns

    @property
    def last_seq(self) -> int:
        return self.inner.last_seq

    @property
    def counters(self) -> Counter[str]:
        return self.inner.counters

    @property
    def ended(self) -> bool:
        return self.inner.ended

    def trust(self) -> dict[TrustState, int]:
        """How many instruments are in each state now."""
        return self._machine.counts()

    def states(self) -> dict[str, TrustState]:
        """Symbol to state now; the line's is that of the symbol ""."""
        return self._machine.states()

    def decode(self, batch: CaptureBatch) -> EventBlock:
        """Events of the next records, and the changes of trust that they make."""
        blocks = [self._decode(part) for part in self._parts(batch)]
        block = _joined([each for each in blocks if each is not None])
        if block is None:
            block = EventBlock(self.venue, self.session, self._machine.symbols)
        block.trust = self._machine.take_changes()
        return block

    def _decode(self, part: CaptureBatch) -> EventBlock | None:
        """Records without a place to look at, but for the first."""
        machine, kind, payload = self._machine, int(part.kinds[0]), b""
        self._clock_ns = max(self._clock_ns, int(part.ts_recv[0]))
        if kind == RecordKind.CLOCK and (payload := part.payload(0)):
            limits = limits_from(payload)
            if limits is not None:
                machine.limit(limits)
                self._check_ns, self._stretch = limits.check_ns, -1
        stretch = self._clock_ns // self._check_ns if self._check_ns else self._stretch
        if stretch != self._stretch:
            machine.time(self._clock_ns, self.inner.last_seq)
            self._stretch = stretch
        if kind == RecordKind.CLOCK:
            return None
        latest_ns = int(part.ts_recv.max())
        if kind == RecordKind.DATA:
            if machine.line_waits:
                machine.heard(int(part.ts_recv[0]), self.inner.last_seq)
            machine.heard(latest_ns, 0)
        self._clock_ns = max(self._clock_ns, latest_ns)
        block = self.inner.decode(part)
        machine.builds_books = getattr(self.inner, "builds_books", False)
        machine.take(block, getattr(self.inner, "holes", None))
        return block

    def _same_stretch(self, latest_ns: int) -> bool:
        return not self._check_ns or max(self._clock_ns, latest_ns) // self._check_ns == self._stretch

    def _parts(self, batch: CaptureBatch) -> Iterator[CaptureBatch]:
        """The batch, cut before each place at which silence is looked for."""
        start, count = 0, len(batch)
        if count and not batch.kinds.any() and self._same_stretch(int(batch.ts_recv.max())):
            yield batch
            return
        ours = batch.kinds != RecordKind.DATA
        clock_ns = np.maximum.accumulate(batch.ts_recv)
        while start < count:
            check_ns = self._check_ns  # a part may bring other limits
            places = ours[start:] | np.concatenate([[False], ours[start:-1]])
            if check_ns:
                stretches = np.maximum(clock_ns[start:], self._clock_ns) // check_ns
                places[1:] |= stretches[1:] != stretches[:-1]
            found: NDArray[np.int64] = np.flatnonzero(places[1:]) + 1 + start
            for stop in [*found.tolist(), count]:
                yield batch if stop - start == count else batch.slice(start, stop)
                start = stop
                if self._check_ns != check_ns:
                    break


def _joined(blocks: list[EventBlock]) -> EventBlock | None:
    """Consecutive blocks as one."""
    if len(blocks) < 2:
        return blocks[0] if blocks else None
    last = blocks[-1]
    kinds = [block.kinds() for block in blocks]
    records = {name: joined([each[name] for each in kinds], first.dtype) for name, first in kinds[0].items()}
    if isinstance(last, NewsBlock):
        return NewsBlock(last.venue, last.session, last.symbols, **records)
    return EventBlock(last.venue, last.session, last.symbols, *records.values())
