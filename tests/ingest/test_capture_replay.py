"""A capture leaves as it came in: every datagram, every line, and the same events each time."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import pytest

from ingest.capture import CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.capture_format import ANSWERS
from ingest.capture_replay import CapturedLines, send_datagrams
from ingest.capture_sessions import digest, pack
from ingest.feeds import decoder_for
from ingest.itch.files import load_file
from ingest.itch.messages import LAYOUTS
from ingest.websocket.binance.messages import snapshot_payload
from ingest.websocket.replay import VenueLine
from tickloom.errors import CaptureError

PROJECT = Path(__file__).parents[2]
SESSION = "20261121.FILE"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A captured session of some hundred ITCH messages."""
    head = LAYOUTS["R"].pack(stock_locate=1, timestamp=1, stock="ALFA")
    adds = [
        LAYOUTS["A"].pack(
            stock_locate=1, timestamp=2 + index, reference=index + 1, side="B", shares=100, stock="ALFA",
            price=1_000_000 + index * 100,
        )
        for index in range(400)
    ]  # fmt: skip
    source = tmp_path / "tape"
    source.write_bytes(b"".join(len(m).to_bytes(2, "big") + m for m in [head, *adds]))
    load_file(source, tmp_path, "XNAS", date(2026, 11, 21))
    return tmp_path


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tickloom", "capture", *words], cwd=PROJECT, capture_output=True, text=True
    )


def payloads(path: Path) -> list[bytes]:
    with CaptureReader(path) as reader:
        return [record.payload for batch in reader.batches() for record in batch if not record.kind]


def test_every_datagram_in_its_order(data_dir: Path) -> None:
    """What a listener gets is what was captured; what is no datagram stays at home."""
    path = session_path(data_dir, "XNAS", SESSION)
    with CaptureWriter(path) as writer:
        writer.append(RecordKind.CONTROL, 0, b"{}")
    came: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(10)
        sent = send_datagrams(path, [listening.getsockname()], speed=0)
        came = [listening.recv(65_536) for _ in range(sent)]
    assert came == payloads(path)


def test_each_line_to_its_own_address(tmp_path: Path) -> None:
    """What came on B leaves for B; what has no address of its own, such as an answer, for the first."""
    with CaptureWriter(tmp_path / "s") as writer:
        writer.append_many(RecordKind.DATA, [1, 1, 2, 3], [b"a1", b"b1", b"asked", b"c1"], [0, 1, ANSWERS, 2])
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in "AB"]
        for each in listening:
            each.bind(("127.0.0.1", 0))
            each.settimeout(10)
        assert send_datagrams(tmp_path / "s", [each.getsockname() for each in listening], speed=0) == 4
        assert [listening[0].recv(99) for _ in range(3)] == [b"a1", b"asked", b"c1"]
        assert listening[1].recv(99) == b"b1"


def test_a_stop_ends_it(data_dir: Path) -> None:
    """At a snail's pace a replay is stopped at once, not at its next datagram."""
    path, stop = session_path(data_dir, "XNAS", SESSION), threading.Event()
    with CaptureWriter(path) as writer:
        writer.append(RecordKind.DATA, 10**19 // 2, b"in years")
    threading.Timer(0.2, stop.set).start()
    assert send_datagrams(path, [("127.0.0.1", 9)], speed=1.0, stop=stop) == len(payloads(path)) - 1


def test_bad_address_is_an_error_that_names_the_record(data_dir: Path) -> None:
    """A datagram that the system refuses ends the replay with what to do."""
    path = session_path(data_dir, "XNAS", SESSION)
    with pytest.raises(CaptureError, match=r"record 1 cannot be sent to 127.0.0.1:0 .* another --to"):
        send_datagrams(path, [("127.0.0.1", 0)], speed=0)


def test_lines_of_a_websocket_session(tmp_path: Path) -> None:
    """Messages and REST answers come byte for byte, with times that never fall."""
    line, answer = (
        b'{"stream":"btcusdt@trade","data":{"s":"BTCUSDT"}}',
        b'{"lastUpdateId":1,"bids":[],"asks":[]}',
    )
    with CaptureWriter(tmp_path) as writer:
        writer.append(RecordKind.CONTROL, 1, b'{"event":"open"}')
        writer.append(RecordKind.DATA, 5, line)
        writer.append(RecordKind.SNAPSHOT, 4, snapshot_payload("BTCUSDT", answer))
        writer.append(RecordKind.DATA, 6, b"no json")
    assert list(CapturedLines(tmp_path, "BINANCE").lines()) == [
        VenueLine(5, line), VenueLine(5, answer, "BTCUSDT"), VenueLine(6, b"no json"),
    ]  # fmt: skip


def test_commands(data_dir: Path) -> None:
    """list, verify, pack and prune as a user runs them; a packed session has the same events."""
    where = ("--data-dir", str(data_dir))
    assert SESSION in command("list", *where).stdout
    report = json.loads(command("verify", "--events", *where).stdout)
    path = session_path(data_dir, "XNAS", SESSION)
    assert report["records"] == len(payloads(path))
    assert report["sha256"] == digest(path, decoder_for("XNAS", SESSION))
    assert "to 1" in command("pack", *where).stdout
    assert command("pack", *where).stdout == f"{SESSION}: nothing left to pack\n"
    assert json.loads(command("verify", "--events", *where).stdout) == report
    assert (
        "no session is more than 100000 days old" in command("prune", "--keep-days", "100000", *where).stdout
    )
    assert path.exists()
    nowhere = command("replay", "--to", "127.0.0.1:99999", *where)
    assert nowhere.returncode == 1
    assert "give HOST:PORT" in nowhere.stderr
    assert "Traceback" not in nowhere.stderr
    assert "no captures of NOPE" in command("list", "--venue", "NOPE", *where).stdout


def test_damage_is_one_sentence(data_dir: Path) -> None:
    """A wrong byte: file and byte are named, and the exit code is 1."""
    path = session_path(data_dir, "XNAS", SESSION)
    list(pack(path))
    file = path / "000001.tlcapz"
    raw = bytearray(file.read_bytes())
    raw[-50] ^= 1
    file.write_bytes(raw)
    ran = command("verify", "--data-dir", str(data_dir))
    assert ran.returncode == 1
    assert f"{file}: its index is damaged; restore the file from a copy" in ran.stderr
