"""Packet captures of IEX DEEP and TOPS in, capture records out: history takes the same way as live."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from ingest.capture import CaptureWriter, RecordKind, segments, session_path
from ingest.feeds import Loaded
from ingest.iex.decoder import end_record
from ingest.iex.iextp import PROTOCOLS, Segment, parse
from ingest.pcap import read_pcap
from tickloom.clock import NS_PER_S
from tickloom.errors import CaptureError, DecodeError
from tickloom.instruments import Registry

RECORDS_AT_ONCE = 256


def load_file(
    source: Path,
    data_dir: Path,
    venue: str,
    day: date,
    registry: Registry | None = None,
    segment_mb: int = 256,
) -> Loaded:
    """Turn a pcap or pcapng into a capture, from which it can be published, stored and counted.

    The session is ``YYYYMMDD.DEEP10`` or ``YYYYMMDD.TOPS16``, after the file's first segment. A file that
    ends inside a packet gives what is whole before it, and says so (``Loaded.damage``): the exchange's own
    samples are cut off like that.

    Raises
    ------
    DecodeError
        No packet capture, none of DEEP 1.0 or TOPS 1.6, or one of another day.
    CaptureError
        That session has been captured already: a second copy would only be duplicates.
    """
    registry = registry or Registry.load()
    known = registry.venues.get(venue)
    zone = ZoneInfo(known.timezone if known else "America/New_York")
    first = _first_segment(source)
    sent = datetime.fromtimestamp(first.send_ns / NS_PER_S, zone).date()
    if sent != day:
        raise DecodeError("IEX", f"{source} was sent on {sent}, not on {day}; give that date")
    session = f"{day:%Y%m%d}.{PROTOCOLS[first.protocol]}"
    path = session_path(data_dir, venue, session)
    if segments(path):
        raise CaptureError(f"{path} holds a capture already; move it away, or load into another data_dir")
    packets = foreign = 0
    damage = ""
    times: list[int] = []
    payloads: list[bytes] = []
    latest_ns = 0
    with CaptureWriter(path, segment_mb) as writer:
        frames = _Frames(source)
        for ts_recv, payload in frames:
            latest_ns = max(latest_ns, ts_recv)
            if payload is None:
                foreign += 1
                continue
            packets += 1
            times.append(ts_recv)
            payloads.append(payload)
            if len(payloads) == RECORDS_AT_ONCE:
                writer.append_many(RecordKind.DATA, times, payloads)
                times, payloads = [], []
        if payloads:
            writer.append_many(RecordKind.DATA, times, payloads)
        damage = frames.damage
        writer.append(RecordKind.CONTROL, latest_ns, end_record())
    return Loaded(path, session, 0, packets, foreign, damage)


class _Frames:
    """Frames of a file up to its end, or to where it is damaged."""

    def __init__(self, source: Path) -> None:
        self.damage = ""
        self._source = source

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        try:
            yield from read_pcap(self._source)
        except DecodeError as error:
            self.damage = str(error)


def _first_segment(source: Path) -> Segment:
    """The first segment of a feed that is decoded here."""
    for _, payload in read_pcap(source):
        segment = parse(payload) if payload is not None else None
        if segment is not None:
            return segment
    raise DecodeError("IEX", f"{source} holds no segment of DEEP 1.0 or TOPS 1.6 (IEX-TP, UDP over IPv4)")
