"""From a seq back to captured bytes, over captures whose bytes are made here and looked up in the file
itself."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ingest.capture import RECORD_HEAD, CaptureWriter, RecordKind, segments, session_path
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import pack, pack_end
from ingest.trace import find, sessions_of
from tickloom.errors import CaptureError
from tickloom.events import make_seq

DAY = date(2026, 11, 20)
SESSION = "20261120.TESTING001"
HEAD_BYTES = 4 + RECORD_HEAD.size


def order(reference: int) -> bytes:
    """An AddOrder message that is told apart by its reference."""
    return LAYOUTS["A"].pack(
        stock_locate=7,
        timestamp=reference,
        reference=reference,
        side="B",
        shares=100,
        stock="ALFA",
        price=1_234_500,
    )


def packets(first: int, last: int, each: int) -> list[bytes]:
    """Packets of ``each`` messages, number n with reference n."""
    return [
        pack(b"TESTING001", start, [order(number) for number in range(start, min(start + each, last + 1))])
        for start in range(first, last + 1, each)
    ]


def capture(data_dir: Path, payloads: list[bytes], venue: str = "XNAS", session: str = SESSION) -> Path:
    path = session_path(data_dir, venue, session)
    with CaptureWriter(path, segment_mb=1) as writer:
        writer.append(RecordKind.CONTROL, 1, b'{"type": "opened"}')
        for number, payload in enumerate(payloads):
            writer.append(RecordKind.DATA, 1_000 + number, payload)
    return path


def test_a_seq_leads_to_its_message(tmp_path: Path) -> None:
    """Message 8 is the second of the packet that begins with 7; file, byte and receive time are those of
    its record, and the message is there in the file at that place."""
    capture(tmp_path, packets(1, 12, 3))
    seq = make_seq(DAY, 8)
    (found,) = find(tmp_path, "XNAS", SESSION, [seq])
    assert found.message == order(8)
    assert (found.seq, found.record, found.ts_recv) == (seq, 4, 1_002)
    raw = found.segment.read_bytes()
    at = found.offset + HEAD_BYTES + found.message_offset
    assert raw[at : at + len(found.message)] == order(8)
    assert found.message_type == "A AddOrderNoMPID"
    assert found.fields["reference"] == "8"
    assert found.fields["price"] == "123.4500"


def test_several_segments_are_searched_where_they_may_hold_it(tmp_path: Path) -> None:
    """Of a capture of several segments the first, the last and the messages beside each cut are found."""
    path = capture(tmp_path, [*packets(1, 80_000, 20), pack_end(b"TESTING001", 80_001)])
    assert len(segments(path)) >= 3
    wanted = [1, 2, 26_000, 26_001, 53_333, 79_999, 80_000]
    found = find(tmp_path, "XNAS", SESSION, [make_seq(DAY, number) for number in wanted])
    assert [one.message for one in found] == [order(number) for number in wanted]
    assert len({one.segment for one in found}) >= 3


def test_a_message_that_came_again_is_found_where_it_was_whole(tmp_path: Path) -> None:
    """Message 5 was in a datagram that was cut off; the retransmission much later has it."""
    first = pack(b"TESTING001", 4, [order(4), order(5)])
    capture(tmp_path, [*packets(1, 3, 3), first[:-10], *packets(6, 60_000, 20), *packets(5, 5, 1)])
    four, five = find(tmp_path, "XNAS", SESSION, [make_seq(DAY, 4), make_seq(DAY, 5)])
    assert four.message == order(4)
    assert five.message == order(5)
    assert five.record > four.record + 1


def test_what_was_not_captured_is_left_out(tmp_path: Path) -> None:
    """A seq behind the end of the session is none; the others come, in the order asked."""
    capture(tmp_path, packets(1, 12, 3))
    found = find(tmp_path, "XNAS", SESSION, [make_seq(DAY, number) for number in (9, 13, 2)])
    assert [one.fields["reference"] for one in found] == ["9", "2"]


def test_damaged_bytes_are_not_shown(tmp_path: Path) -> None:
    """A flipped bit in the record that is asked for is said with file and byte; others are still told."""
    path = capture(tmp_path, packets(1, 12, 3))
    (found,) = find(tmp_path, "XNAS", SESSION, [make_seq(DAY, 8)])
    (file,) = segments(path)
    raw = bytearray(file.read_bytes())
    raw[found.offset + HEAD_BYTES + found.message_offset + 5] ^= 1
    file.write_bytes(raw)
    with pytest.raises(CaptureError, match=f"byte {found.offset} is damaged"):
        find(tmp_path, "XNAS", SESSION, [make_seq(DAY, 8)])
    assert find(tmp_path, "XNAS", SESSION, [make_seq(DAY, 1)])[0].message == order(1)


def test_a_feed_that_counts_records_is_found_by_the_record(tmp_path: Path) -> None:
    """On the Binance websocket the source number is the record's: 1 is the control record."""
    lines = [f'{{"u": {number}}}'.encode() * 30 for number in range(20_000)]
    path = capture(tmp_path, lines, venue="BINANCE", session="20261120")
    assert len(segments(path)) >= 3
    control, last = find(tmp_path, "BINANCE", "20261120", [make_seq(DAY, 1), make_seq(DAY, 20_001)])
    assert (control.message_type, control.message) == ("control", b'{"type": "opened"}')
    assert last.message == lines[-1]
    assert last.fields["text"].startswith('{"u": 19999}')


def test_a_session_without_capture_is_said(tmp_path: Path) -> None:
    """The path that is missing is in the message; sessions are listed by the day of a seq."""
    capture(tmp_path, packets(1, 3, 3))
    assert sessions_of(tmp_path, "XNAS", make_seq(DAY, 1)) == [SESSION]
    assert sessions_of(tmp_path, "XNAS", make_seq(date(2026, 11, 21), 1)) == []
    with pytest.raises(CaptureError, match="has no capture"):
        find(tmp_path, "XNAS", "20261121", [make_seq(DAY, 1)])


def test_a_seq_of_a_message_of_many_trades_leads_to_its_record(tmp_path: Path) -> None:
    """Where a message may hold many trades, a record has a hundred numbers, and each leads to it."""
    payloads = [f'[1,"message {number}"]'.encode() for number in range(5)]
    capture(tmp_path, payloads, "KRAKEN", "20261120")
    found = find(tmp_path, "KRAKEN", "20261120", [make_seq(DAY, 300), make_seq(DAY, 399), make_seq(DAY, 400)])
    assert [one.record for one in found] == [3, 3, 4]
    assert [one.message for one in found] == [payloads[1], payloads[1], payloads[2]]
