"""Packet captures of MDP 3.0: to a capture, once, on their own day, and the packets of others refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from ingest.feeds import decoder_for, load_file
from ingest.pipeline import count_events
from ingest.sbe.mdp3.packets import pack
from tests.ingest.pcap_bytes import pcap, udp_frame
from tickloom.errors import CaptureError, DecodeError

DAY = date(2026, 11, 20)
NOON_NS = 1_795_176_000 * 10**9  # of that day, UTC
HEARTBEAT = b"\x00\x00\x0c\x00\x01\x00\x0d\x00"  # block of no bytes, template 12, schema 1, version 13


def tape(path: Path, packets: list[bytes]) -> Path:
    path.write_bytes(pcap([udp_frame(raw) for raw in packets], times=[NOON_NS] * len(packets)))
    return path


def test_file_becomes_a_session_once(tmp_path: Path) -> None:
    """Its packets are decoded, the one that is missing is a gap, and a second load is refused."""
    packets = [pack(number, NOON_NS + number, [HEARTBEAT]) for number in (1, 2, 4, 5)]
    source = tape(tmp_path / "tape.pcap", packets)
    loaded = load_file(source, tmp_path, "XCME", DAY)
    assert (loaded.session, loaded.packets, loaded.damage) == ("20261120.FILE", 4, "")
    decoder = decoder_for("XCME", loaded.session)
    count_events(loaded.path, decoder)
    assert decoder.counters["packets"] >= 2
    with pytest.raises(CaptureError, match="holds a capture already"):
        load_file(source, tmp_path, "XCME", DAY)


def test_other_days_and_other_feeds_are_refused(tmp_path: Path) -> None:
    """A file of another day says which one, and one of another feed that it is none."""
    source = tape(tmp_path / "tape.pcap", [pack(1, NOON_NS, [HEARTBEAT])])
    with pytest.raises(DecodeError, match="sent on 2026-11-20, not on 2026-11-10"):
        load_file(source, tmp_path, "XCME", date(2026, 11, 10))
    other = tape(tmp_path / "other.pcap", [b"\x00" * 40])
    with pytest.raises(DecodeError, match="holds no packet of MDP"):
        load_file(other, tmp_path, "XCME", DAY)


def test_real_packets(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Each sample loads; it is named after its template, and makes what that says."""
    folder = shared_data("omi_packets/cme_mdp3_v19")
    for source in sorted(folder.glob("*.pcap")):
        with pytest.raises(DecodeError, match=r"was sent on (\d{4}-\d\d-\d\d)") as said:
            load_file(source, tmp_path, "XCME", date(2000, 1, 1))
        sent = date.fromisoformat(str(said.value).partition("sent on ")[2][:10])
        loaded = load_file(source, tmp_path / source.stem, "XCME", sent)
        decoder = decoder_for("XCME", loaded.session)
        count_events(loaded.path, decoder)
        assert decoder.counters["decoded"] >= 1
        assert decoder.counters["unknown_template"] == 0
