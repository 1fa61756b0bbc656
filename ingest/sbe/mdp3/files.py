"""Packet captures of one MDP 3.0 channel in, capture records out: history takes the same way as live.

All feeds of the channel that are in the file are taken: a snapshot tells by its template that it is one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ingest.capture import session_path
from ingest.capture_target import OpenWriter, new_capture
from ingest.feeds import Loaded
from ingest.pcap import read_pcap
from ingest.pcap_capture import capture_pcap
from ingest.sbe.mdp3.packets import Packet, parse
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
    """Turn a pcap or pcapng into a capture, session ``YYYYMMDD.FILE``.

    Raises
    ------
    DecodeError
        No packet capture, none of MDP 3.0, or one that was sent on another day.
    CaptureError
        That session has been captured already: a second copy would only be duplicates.
    """
    sent = datetime.fromtimestamp(_first_packet(source).sending_time / NS_PER_S, UTC).date()
    if abs(sent - day) > timedelta(days=1):  # a trading day begins on the evening before, in Chicago
        raise DecodeError("MDP 3.0", f"{source} was sent on {sent}, not on {day}; give that date")
    session = f"{day:%Y%m%d}.FILE"
    path = session_path(data_dir, venue, session)
    packets, foreign, damage = capture_pcap(source, path, segment_mb, open_writer=open_writer)
    return Loaded(path, session, 0, packets, foreign, damage)


def _first_packet(source: Path) -> Packet:
    for _, payload in read_pcap(source):
        packet = parse(payload) if payload is not None else None
        if packet is not None and packet.frames and packet.whole:
            return packet
    raise DecodeError("MDP 3.0", f"{source} holds no packet of MDP 3.0 (UDP over IPv4)")
