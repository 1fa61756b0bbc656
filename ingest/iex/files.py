"""Packet captures of IEX DEEP and TOPS in, capture records out: history takes the same way as live."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from ingest.capture import session_path
from ingest.capture_target import OpenWriter, new_capture
from ingest.feeds import Loaded
from ingest.iex.decoder import end_record
from ingest.iex.iextp import PROTOCOLS, Segment, parse
from ingest.pcap import read_pcap
from ingest.pcap_capture import capture_pcap
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError
from tickloom.instruments import Registry


def load_file(
    source: Path,
    data_dir: Path,
    venue: str,
    day: date,
    registry: Registry | None = None,
    segment_mb: int = 256,
    open_writer: OpenWriter = new_capture,
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
    packets, foreign, damage = capture_pcap(source, path, segment_mb, end_record(), open_writer)
    return Loaded(path, session, 0, packets, foreign, damage)


def _first_segment(source: Path) -> Segment:
    """The first segment of a feed that is decoded here."""
    for _, payload in read_pcap(source):
        segment = parse(payload) if payload is not None else None
        if segment is not None:
            return segment
    raise DecodeError("IEX", f"{source} holds no segment of DEEP 1.0 or TOPS 1.6 (IEX-TP, UDP over IPv4)")
