"""Packet captures of IEX: to a capture, once, on their own day, and as far as they are whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from ingest.feeds import decoder_for, load_file
from ingest.iex.decoder import IexDecoder
from ingest.iex.iextp import TOPS_1_6
from ingest.pipeline import count_events
from tests.ingest.iex_venue import Venue
from tests.ingest.pcap_bytes import pcap, udp_frame
from tickloom.errors import CaptureError, DecodeError, SettingsError

PROJECT = Path(__file__).parents[3]
DAY = date(2017, 4, 25)
SharedData = Callable[[str], Path]


def tape(protocol: int, tmp_path: Path, lost: bool = False) -> Path:
    venue = Venue(protocol)
    records = [venue.send(venue.trade(number)) for number in range(1, 6)]
    if lost:
        del records[2]
    frames = [b"\xff" * 60, *(udp_frame(raw) for _, _, raw in records)]
    path = tmp_path / "tape.pcap"
    path.write_bytes(pcap(frames, times=[0, *(ts for _, ts, _ in records)]))
    return path


def test_file_becomes_a_session(tmp_path: Path) -> None:
    """Named after day and feed; foreign frames are counted; what it lacks is a gap, for nobody resends it."""
    path = tape(TOPS_1_6, tmp_path, lost=True)
    loaded = load_file(path, tmp_path, "IEXG", DAY)
    assert (loaded.session, loaded.packets, loaded.foreign, loaded.damage) == ("20170425.TOPS16", 4, 1, "")
    decoder = decoder_for("IEXG", loaded.session)
    assert isinstance(decoder, IexDecoder)
    counts = count_events(loaded.path, decoder)
    assert (counts["trades"], counts["gaps"]) == ({"ALFA": 4}, {"": 1})


def test_loading_twice_is_refused_and_loading_elsewhere_gives_the_same(tmp_path: Path) -> None:
    """A second load of a day is refused; into another directory it gives the same bytes."""
    path = tape(TOPS_1_6, tmp_path)
    first = load_file(path, tmp_path / "a", "IEXG", DAY)
    with pytest.raises(CaptureError, match="holds a capture already"):
        load_file(path, tmp_path / "a", "IEXG", DAY)
    second = load_file(path, tmp_path / "b", "IEXG", DAY)
    assert (first.path / "000001.tlcap").read_bytes() == (second.path / "000001.tlcap").read_bytes()


def test_cut_off_file_gives_what_is_whole(tmp_path: Path) -> None:
    """The last packet is cut: those before it are loaded, and the damage is said."""
    path = tape(TOPS_1_6, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    loaded = load_file(path, tmp_path, "IEXG", DAY)
    assert loaded.packets == 4
    assert "ends inside a frame" in loaded.damage


def test_what_is_no_tape_of_that_day_is_refused(tmp_path: Path) -> None:
    """Another day, no IEX-TP, no capture, a feed without files: said, and nothing is captured."""
    path = tape(TOPS_1_6, tmp_path)
    with pytest.raises(DecodeError, match="was sent on 2017-04-25, not on 2017-04-26; give that date"):
        load_file(path, tmp_path, "IEXG", date(2017, 4, 26))
    other = tmp_path / "other"
    other.write_bytes(pcap([udp_frame(b"\x01" * 80)]))
    with pytest.raises(DecodeError, match="holds no segment of DEEP"):
        load_file(other, tmp_path, "IEXG", DAY)
    other.write_bytes(b"no capture at all")
    with pytest.raises(DecodeError, match="no classic pcap"):
        load_file(other, tmp_path, "IEXG", DAY)
    with pytest.raises(SettingsError, match="no files of feed 'binance'"):
        load_file(path, tmp_path, "BINANCE", DAY)
    with pytest.raises(SettingsError, match="'IEXX' is not in"):
        load_file(path, tmp_path, "IEXX", DAY)
    assert not (tmp_path / "capture").exists()


def test_command(tmp_path: Path) -> None:
    """``tickloom ingest file`` loads it and prints what it holds; of a cut file it says so on stderr."""
    path = tape(TOPS_1_6, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    words = ("file", str(path), "--date", "2017-04-25", "--venue", "IEXG", "--data-dir", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "tickloom", "ingest", *words], cwd=PROJECT, capture_output=True, text=True
    )
    report = json.loads(done.stdout or done.stderr)
    assert report["events"]["trades"] == 4
    assert report["file"] == {"packets": 4, "foreign": 1, "damage": report["file"]["damage"]}
    assert "ends inside a frame" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "types"),
    [("Heartbeat", {}), ("PriceLevelBuyUpdateMessage", {"8": 1}), ("PriceLevelSellUpdateMessage", {"5": 1})],
)
def test_real_packet_of_each_type(
    name: str, types: dict[str, int], shared_data: SharedData, tmp_path: Path
) -> None:
    """Single packets out of a session: decoded as their type, what was before them a gap with its range."""
    loaded = load_file(shared_data(f"omi_packets/iex_deep/{name}.pcap"), tmp_path, "IEXG", date(2021, 1, 26))
    decoder = IexDecoder("IEXG", loaded.session)
    counts = count_events(loaded.path, decoder)
    assert decoder.message_types == types
    if types:
        assert sum(counts["book_deltas"].values()) == 1
        assert decoder.counters["gap_messages"] == decoder.expected - 2
    trouble = ("malformed", "wrong_length", "unknown_type", "bad_field", "bad_timestamp", "truncated_packet")
    assert not [kind for kind in trouble if decoder.counters[kind]]
