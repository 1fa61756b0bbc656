"""What a played session gives to a client, without a socket."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.websocket.replay import Pace, Playback, RecordedLines, VenueLine, parse_line, recorded_venues
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError, SettingsError
from tickloom.prices import nanos_of


class Lines:
    """A source from a list."""

    venue = "BINANCE"

    def __init__(self, lines: list[VenueLine]) -> None:
        self._lines = lines

    def lines(self) -> Iterator[VenueLine]:
        return iter(self._lines)


def play(playback: Playback, most: int | None = None) -> list[bytes]:
    """Messages that a client is sent, up to ``most`` of them."""
    found = (line.payload for line in iter(playback.next, None) if not line.snapshot_of)
    return list(itertools.islice(found, most))


@pytest.fixture
def lines(wire: Any) -> list[VenueLine]:
    """A BTCUSDT session: depth updates 101 to 140, the snapshot at 102 behind the third."""
    updates = [
        VenueLine(i, wire.depth(101 + i, 101 + i, [("99", f"{i + 1}")], [("101", "1")], at=i)[2])
        for i in range(40)
    ]
    answer = json.dumps({"lastUpdateId": 102, "bids": [["98", "5"]], "asks": []}).encode()
    return [*updates[:3], VenueLine(2, answer, "BTCUSDT"), *updates[3:]]


def test_client_gets_every_line_once(lines: list[VenueLine]) -> None:
    """A client that stays gets all messages in order; REST answers are not among them."""
    playback = Playback(Lines(lines))
    playback.connect()
    assert play(playback) == [line.payload for line in lines if not line.snapshot_of]
    assert playback.finished


def test_reconnect_goes_back_a_bounded_way(lines: list[VenueLine]) -> None:
    """Behind a reconnect the last lines come again, no more than are kept, and then the new ones."""
    playback = Playback(Lines(lines), rewind_lines=5)
    playback.connect()
    first = play(playback, 20)
    playback.connect()
    second = play(playback)
    assert second == [line.payload for line in lines if not line.snapshot_of][15:]
    assert first[15:] == second[:5]
    playback.connect()
    assert play(playback) == second[-5:]


def test_recorded_snapshot_is_given_once_as_it_was(lines: list[VenueLine]) -> None:
    """Who was there from before the recorded answer gets it byte for byte; the next request, and everybody
    else, gets the book that the lines played so far make."""
    playback = Playback(Lines(lines), rewind_lines=5)
    playback.connect()
    play(playback, 2)
    assert playback.snapshot("BTCUSDT") is None  # the recording has not come to it
    play(playback, 8)
    assert playback.snapshot("BTCUSDT") == lines[3].payload
    built = json.loads(playback.snapshot("BTCUSDT") or b"")
    assert built == {"lastUpdateId": 110, "bids": [["99", "10"], ["98", "5"]], "asks": [["101", "1"]]}
    play(playback, 10)
    playback.connect()
    assert json.loads(playback.snapshot("BTCUSDT") or b"")["lastUpdateId"] == 120
    assert playback.snapshot("ETHUSDT") is None


def test_recording_is_merged_by_receive_time(
    shared_data: Callable[[str], Path], expected: dict[str, Any]
) -> None:
    """All files of a market play as one feed in order of receive time, with every line of each; the venue's
    own books end as an independent reader found them."""
    source = RecordedLines.of_directory(shared_data("binance_raw"), "BINANCE")
    assert source.symbols == ["BTCUSDT", "ETHUSDT"]
    playback = Playback(source)
    playback.connect()
    times = []
    while (line := playback.next()) is not None:
        times.append(line.recv_ns)
    assert times == sorted(times)
    counts = expected["line_counts"]
    assert playback.high == sum(count["lines"] for name, count in counts.items() if name.startswith("spot"))
    for symbol, name in (("BTCUSDT", "spot_btcusdt(08+09)"), ("ETHUSDT", "spot_ethusdt(08+09)")):
        assert playback.best(symbol) == tuple(nanos_of(text) for text in expected["book"][name]["final"])


def test_venues_of_a_directory(shared_data: Callable[[str], Path]) -> None:
    """Spot and futures are told apart by the files' names."""
    assert recorded_venues(shared_data("binance_raw")) == ["BINANCE", "BINANCEF"]


def test_refused_recordings(tmp_path: Path) -> None:
    """A directory without recordings, a wrong name and a wrong market are refused with what to do."""
    with pytest.raises(SettingsError, match="has no spot_"):
        RecordedLines.of_directory(tmp_path, "BINANCE")
    with pytest.raises(SettingsError, match="name a recording"):
        RecordedLines([tmp_path / "btc.gz"], "BINANCE")
    with pytest.raises(SettingsError, match="cannot be played"):
        RecordedLines([tmp_path / "usdm_btcusdt_20240808.gz"], "BINANCE")
    with pytest.raises(SettingsError, match="at least one"):
        RecordedLines([], "BINANCE")


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"1 {}\n" * 90_000, mtime=0)[:-40], gzip.compress(b"x {}", mtime=0)],
    ids=["no gzip", "cut off", "no time"],
)
def test_damaged_recording_names_file_and_line(tmp_path: Path, content: bytes) -> None:
    """What cannot be read is said with the file's name and the line."""
    path = tmp_path / "spot_btcusdt_20240808.gz"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=r"spot_btcusdt_20240808\.gz.*line \d+"):
        list(RecordedLines([path], "BINANCE").lines())


def test_line_is_time_and_json() -> None:
    """The receive time stands before the first blank; an object without stream is an order book."""
    assert parse_line(b'17 {"stream":"a@trade","data":{"a b":1}}\r\n', "A") == VenueLine(
        17, b'{"stream":"a@trade","data":{"a b":1}}', ""
    )
    assert parse_line(b'18 {"lastUpdateId":1}\n', "A").snapshot_of == "A"


def test_pace_holds_while_nobody_is_there() -> None:
    """Lines are due at a multiple of real time; a pause of the client pauses the session."""
    pace = Pace(4.0)
    pace.resume(100 * NS_PER_S)
    assert pace.wait_s(1_000 * NS_PER_S, 100 * NS_PER_S) == 0.0
    assert pace.wait_s(1_008 * NS_PER_S, 100 * NS_PER_S) == 2.0
    pace.resume(500 * NS_PER_S)
    assert pace.wait_s(1_004 * NS_PER_S, 500 * NS_PER_S) == 0.0
    assert pace.wait_s(1_012 * NS_PER_S, 500 * NS_PER_S) == 1.0


def test_pace_without_pacing() -> None:
    """Speed 0 never waits; a negative one is refused."""
    pace = Pace(0)
    pace.resume(0)
    pace.wait_s(5, 0)
    assert pace.wait_s(5_000 * NS_PER_S, 0) == 0.0
    with pytest.raises(SettingsError, match="speed -1"):
        Pace(-1)
