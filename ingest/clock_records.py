"""Records of kind CLOCK: what an ingester says in its capture of time and of the limits of silence.

A feed that goes quiet makes no packets, and nothing would show in the capture that time went on; what is
decided of the capture alone could not be decided (docs/decisions/0010). So an ingester writes a record when
nothing else came for a while, and, when it opens a capture, one with the limits that it was given.
"""

from __future__ import annotations

import msgspec

from ingest.capture import CaptureWriter, RecordKind
from ingest.trust import StaleLimits
from tickloom.clock import NS_PER_MS, Clock
from tickloom.settings import IngestSettings


class _Limits(msgspec.Struct, forbid_unknown_fields=True):
    """Payload of a CLOCK record that says which limits hold. ms; 0: none."""

    line_ms: int
    instrument_ms: int
    of: dict[str, int]


def limits_record(settings: IngestSettings) -> bytes:
    """Payload of the CLOCK record that says which limits hold."""
    of = dict(sorted(settings.stale_ms_of.items()))
    return msgspec.json.encode(_Limits(settings.line_stale_ms, settings.stale_ms, of))


def limits_from(payload: bytes) -> StaleLimits | None:
    """What :func:`limits_record` wrote; None where it is something else."""
    try:
        record = msgspec.json.decode(payload, type=_Limits)
    except msgspec.DecodeError:
        return None
    of = {symbol: limit_ms * NS_PER_MS for symbol, limit_ms in record.of.items()}
    return StaleLimits(record.line_ms * NS_PER_MS, record.instrument_ms * NS_PER_MS, of)


class ClockRecords:
    """Writes them for one capture; a session that is over gets none.

    Attributes
    ----------
    written : int
        How many.
    """

    def __init__(self, writer: CaptureWriter, settings: IngestSettings, clock: Clock) -> None:
        self._writer, self._clock = writer, clock
        self._limits = limits_record(settings)
        limits = limits_from(self._limits)
        self._wanted = limits is not None and limits.check_ns > 0
        self._patience_ns = settings.clock_ms * NS_PER_MS
        self._seen, self._since_ns = writer.next_number, clock.monotonic_ns()
        self.written = 0

    def open(self) -> None:
        """From here on these limits hold."""
        self._append(self._limits)

    def keep(self) -> None:
        """Say that time goes on, where nothing was captured for ``clock_ms``; called often."""
        if not self._wanted:
            return
        now_ns = self._clock.monotonic_ns()
        if self._writer.next_number != self._seen:
            self._seen, self._since_ns = self._writer.next_number, now_ns
        elif now_ns - self._since_ns >= self._patience_ns:
            self._append(b"")

    def _append(self, payload: bytes) -> None:
        self._writer.append(RecordKind.CLOCK, self._clock.now_ns(), payload)
        self._seen, self._since_ns = self._writer.next_number, self._clock.monotonic_ns()
        self.written += 1
