"""The live gateway's client: what it says, what it makes of a stream however it is cut, what it asks for."""

from __future__ import annotations

import random
from pathlib import Path

import databento_dbn as dbn
import pytest

from ingest.capture import RecordKind
from ingest.dbn.live import LiveClient, Recent, RefusedError, Request, answer, cut_apart
from ingest.dbn.session import key_of, request_of
from tests.ingest.dbn.gateway import CHALLENGE, KEY, Gateway, Turn, heartbeat
from tests.ingest.dbn.test_decoder import DAY_NS, mbo, trade
from tests.ingest.dbn_naive import encoded
from tickloom.errors import DecodeError, SettingsError
from tickloom.instruments import Registry
from tickloom.settings import DbnSettings

REQUEST = Request("XNAS.ITCH", ["trades"], ["ALFA"], "raw_symbol", 5)
METADATA = encoded([], "trades")
LET_IN = b"lsg_version=0.6.3\n" + f"cram={CHALLENGE}\n".encode() + b"success=1|session_id=17\n"


def some_trades(count: int, step_ns: int = 1_000) -> list[tuple[int, bytes]]:
    """Records and the times by which they are replayed; some times are the same, and some records."""
    found = []
    for number in range(count):
        ts_ns = DAY_NS + number // 3 * step_ns
        found.append((ts_ns, bytes(trade(ts_event=ts_ns - 5, ts_recv=ts_ns, size=1 + number % 2))))
    return found


def test_what_is_said_to_the_gateway() -> None:
    """The answer to a challenge is that of Databento's own client; subscriptions come in parts."""
    said = answer("t7kNhwj4xqR0QYjzFKtBEG2ec2pXJ4FK", "db-89s9vCvwDDKPdQJ5Pb30Fyj9mNUM6")
    assert said == "0346888c046dd0b58bbc8d71f8b1ad1a878b4da60444d2d8d33ddff415f8088b-mNUM6"
    symbols = [f"S{number}" for number in range(1_200)]
    request = Request("GLBX.MDP3", ["mbo", "trades"], symbols, "raw_symbol", 10, snapshot=True)
    lines = request.lines().decode().splitlines()
    assert lines[-1] == "start_session=0"
    fields = [dict(part.split("=", 1) for part in line.split("|")) for line in lines[:-1]]
    assert [(one["schema"], one["snapshot"], one["id"], one["is_last"]) for one in fields] == [
        ("mbo", "1", "1", "0"), ("mbo", "1", "1", "0"), ("mbo", "1", "1", "1"),
        ("trades", "0", "2", "0"), ("trades", "0", "2", "0"), ("trades", "0", "2", "1"),
    ]  # fmt: skip
    assert [len(one["symbols"].split(",")) for one in fields] == [500, 500, 200] * 2
    assert not any("start" in one for one in fields)
    (again, _) = Request("GLBX.MDP3", ["mbo"], ["ES"], "parent", 10, True).since(77).lines().splitlines()
    assert b"start=77|snapshot=0" in again


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_is_the_same_however_it_is_cut(seed: int) -> None:
    """Metadata once, then pieces of whole records, in order; errors and warnings are heard."""
    rng = random.Random(seed)
    records = [raw for _, raw in some_trades(50)]
    records.insert(20, heartbeat(1))
    records.insert(30, bytes(dbn.SystemMsg(2, "Slow reader", dbn.SystemCode.SLOW_READER_WARNING)))
    records.insert(40, bytes(dbn.ErrorMsg(3, "Too bad")))
    stream = LET_IN + METADATA + b"".join(records)
    client, found, sent = LiveClient(KEY, REQUEST), [], b""
    while stream:
        size = rng.choice((1, 7, 100, 5_000))
        found += client.feed(stream[:size])
        sent += client.take_output()
        stream = stream[size:]
    assert sent.startswith(b"auth=" + answer(CHALLENGE, KEY).encode() + b"|dataset=XNAS.ITCH|encoding=dbn|")
    assert sent.endswith(b"\n" + REQUEST.lines())
    assert found[0] == (RecordKind.SNAPSHOT, METADATA)
    assert {kind for kind, _ in found[1:]} == {RecordKind.DATA}
    assert [one for _, piece in found[1:] for one in cut_apart(piece)] == records
    assert client.said == ["Slow reader", "error: Too bad"]
    assert (client.session_id, client.error, client.latest_ns) == ("17", "Too bad", DAY_NS + 16_000)


def test_what_is_no_gateway() -> None:
    """A refusal is said in the gateway's words; another protocol, and a stream that is none, are named."""
    with pytest.raises(RefusedError, match="refuses: Authentication failed"):
        LiveClient(KEY, REQUEST).feed(b"lsg_version=0.6.3\nsuccess=0|error=Authentication failed.\n")
    with pytest.raises(DecodeError, match=r"HTTP/1.1 400"):
        LiveClient(KEY, REQUEST).feed(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(DecodeError, match="says no line"):
        LiveClient(KEY, REQUEST).feed(bytes(5_000))
    with pytest.raises(DecodeError, match="not 'DBN'"):
        LiveClient(KEY, REQUEST).feed(LET_IN + b"something else")
    with pytest.raises(DecodeError, match="length cannot be"):
        LiveClient(KEY, REQUEST).feed(LET_IN + METADATA + bytes(16))


@pytest.mark.parametrize("seed", range(30))
def test_a_replay_gives_what_came_since(seed: int) -> None:
    """Wherever a stream breaks off: what is replayed from ``start_ns`` on, less what is had, is the rest."""
    rng = random.Random(seed)
    records = some_trades(90, step_ns=rng.choice((1_000, 300_000_000, 5_000_000_000)))
    recent, kept = Recent(), []
    stop = rng.randrange(1, 90)
    for turn in range(3):
        if turn:
            recent.resume()
        left = [raw for ts_ns, raw in records[:stop] if ts_ns >= recent.start_ns]
        while left:
            piece, left = b"".join(left[: (size := rng.randrange(1, 9))]), left[size:]
            new = recent.new(piece)
            if new:
                recent.take(new)
                kept += cut_apart(new)
        assert kept == [raw for _, raw in records[:stop]]
        stop = rng.randrange(stop, 91)


def test_only_the_last_second_is_kept() -> None:
    """However long it lasts, also while nothing comes but heartbeats; those always come through."""
    recent = Recent()
    for number in range(5_000):
        ts_ns = DAY_NS + number * 10_000_000
        order = bytes(mbo("A", ts_event=ts_ns, ts_recv=2**64 - 1 if number % 2 else ts_ns))
        recent.take(order if number % 7 else heartbeat(1) + order)
        recent.take(heartbeat(1))
    assert recent.start_ns == DAY_NS + 4_998 * 10_000_000 - 1_000_000_000
    assert len(recent._pieces) < 60
    recent.resume()
    assert recent.new(heartbeat(1) * 3) == heartbeat(1) * 3


def test_settings_that_are_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each says what to set."""
    monkeypatch.delenv("DATABENTO_API_KEY", raising=False)
    registry = Registry.load()
    with pytest.raises(SettingsError, match=r"dbn\.dataset is not set.*XNAS\.ITCH"):
        request_of(DbnSettings(venue="XNAS"), registry)
    with pytest.raises(SettingsError, match=r"no instruments of venue XCME; set dbn\.symbols"):
        request_of(DbnSettings(venue="XCME", dataset="GLBX.MDP3"), registry)
    found = request_of(DbnSettings(venue="XNAS", dataset="XNAS.ITCH"), registry)
    assert "ALFA" in found.symbols
    with pytest.raises(SettingsError, match=r"set dbn\.api_key_file, or the variable DATABENTO_API_KEY"):
        key_of(DbnSettings())
    missing = tmp_path / "key"
    with pytest.raises(SettingsError, match="cannot be read"):
        key_of(DbnSettings(api_key_file=missing))
    missing.write_text(f"{KEY}\n")
    assert key_of(DbnSettings(api_key_file=missing)) == KEY
    monkeypatch.setenv("DATABENTO_API_KEY", "other")
    assert key_of(DbnSettings()) == "other"


def test_databentos_own_client_takes_the_local_gateway() -> None:
    """The gateway of these tests speaks as the real one: Databento's client reads its records."""
    databento = pytest.importorskip("databento", reason="pip install databento")
    records = some_trades(30)
    with Gateway(METADATA, records, [Turn(30)]) as gateway:
        live = databento.Live(key=KEY, gateway="127.0.0.1", port=gateway.port)
        found: list[int] = []
        live.add_callback(lambda record: found.append(record.ts_recv))
        live.subscribe("XNAS.ITCH", "trades", ["ALFA"], "raw_symbol")
        live.start()
        live.block_for_close(timeout=20)
    assert found == [ts_ns for ts_ns, _ in records]
