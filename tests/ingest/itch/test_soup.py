"""ITCH over SoupBinTCP, against a real server: every message once, whatever becomes of the connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.capture import CaptureReader, session_path
from ingest.itch import session, soup
from ingest.itch.decoder import ItchDecoder
from ingest.itch.messages import LAYOUTS
from ingest.itch.session import track
from ingest.synthetic.soup_server import SoupItchServer
from tests.ingest.itch.rig import WAIT_S, Ingester
from tickloom.errors import SetupError


def trades(count: int, first: int = 1) -> list[bytes]:
    return [
        LAYOUTS["P"].pack(
            stock_locate=1, timestamp=number, side="B", stock="ALFA", shares=1, price=1, match_number=number
        )
        for number in range(first, first + count)
    ]


class SoupIngester(Ingester):
    """An ingester over SoupBinTCP."""

    def __init__(self, data_dir: Path, server: SoupItchServer, ready: threading.Event, **values: Any) -> None:
        defaults: dict[str, Any] = {
            "transport": "soupbintcp", "soup_address": f"127.0.0.1:{server.port}", "soup_username": "ITCH",
            "soup_password": "secret", "session_date": "2026-11-21", "reconnect_ms": 5,
        }  # fmt: skip
        super().__init__(data_dir, ready, **{**defaults, **values})
        self.start()

    def has(self, count: int, sink: int = 0) -> Callable[[], bool]:
        return lambda: len(self.sinks) > sink and self.sinks[sink].trades == list(range(1, count + 1))


@pytest.fixture
def ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SoupIngester]]:
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    ready = threading.Event()
    monkeypatch.setattr(session, "start_metrics", lambda port: ready.set())
    running: list[SoupIngester] = []

    def make(server: SoupItchServer, **values: Any) -> SoupIngester:
        running.append(SoupIngester(tmp_path, server, ready, **values))
        return running[-1]

    yield make
    for each in running:
        each.stop.set()
        each.thread.join(WAIT_S)


def test_whole_session_to_its_end(tmp_path: Path, ingest: Callable[..., SoupIngester]) -> None:
    """Login, 5,000 messages, end of session: all captured in order, each with its number."""
    with SoupItchServer(trades(5_000), limit=3_000) as server:
        one = ingest(server)
        one.wait(one.has(3_000))
        server.release(5_000)
        one.wait(one.has(5_000))
        server.end()
        path = session_path(tmp_path, "XNAS", "20261121.TLSYN00001")
        one.wait(lambda: track(path, "TLSYN00001").sequencer.ended)
        one.end()
        assert server.asked == [1]
    assert one.sinks[0].gaps == []
    decoder = ItchDecoder("XNAS", "20261121.TLSYN00001")
    with CaptureReader(path) as reader:
        found = [n for batch in reader.batches() for n in decoder.decode(batch).trades["venue_id"].tolist()]
    assert found == list(range(1, 5_001))
    assert decoder.ended


def test_cut_connection_goes_on_at_the_next_number(ingest: Callable[..., SoupIngester]) -> None:
    """Lost again and again in the middle of the stream: each login asks for the number that is due."""
    with SoupItchServer(trades(4_000), limit=500) as server:
        one = ingest(server)
        one.wait(one.has(500))
        for limit in (1_000, 2_000, 4_000):
            server.cut()
            server.release(limit)
            one.wait(one.has(limit))
        one.end()
        assert server.asked == [1, 501, 1_001, 2_001]


def test_restart_goes_on_where_the_capture_ends(ingest: Callable[..., SoupIngester]) -> None:
    """Stopped and started: a logout, and a login to the same session at the next number."""
    with SoupItchServer(trades(30), limit=10) as server:
        one = ingest(server)
        one.wait(one.has(10))
        one.end()
        assert server.counters["logouts"] == 1
        server.release(30)
        two = ingest(server)
        two.wait(two.has(30))
        two.end()
        assert server.asked == [1, 11]


def test_heartbeats_go_both_ways(
    ingest: Callable[..., SoupIngester], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent market: both ends say that they live, and neither takes the other for dead. A server that says
    nothing, its connection open, is left and another login follows."""
    monkeypatch.setattr("tickloom.soupbin.session.SILENCE_NS_MAX", 1_500_000_000)
    with SoupItchServer(trades(10), limit=5) as server:
        one = ingest(server)
        one.wait(one.has(5))
        threading.Event().wait(2.5)
        assert server.counters["logins"] == 1
        assert server.counters["silent"] == 0
        server.stall()
        one.wait(lambda: server.counters["logins"] >= 2)
        server.stall(False)
        server.release(10)
        one.wait(one.has(10))
        one.end()
        assert set(server.asked) == {1, 6}


def test_refused_login_is_said(ingest: Callable[..., SoupIngester]) -> None:
    """A wrong password, or a session that the server does not have, ends the ingester with what to do."""
    with SoupItchServer(trades(1)) as server:
        for values, text in (
            ({"soup_password": "wrong"}, r"not authorised; set itch\.soup_username"),
            ({"soup_session": "OTHER"}, r"no such session; .* leave itch\.soup_session empty"),
        ):
            one = ingest(server, **values)
            one.thread.join(WAIT_S)
            with pytest.raises(SetupError, match=text):
                one.end()
        assert server.counters["rejected"] == 2


def test_server_that_comes_late(
    ingest: Callable[..., SoupIngester], free_ports: Callable[[int], list[int]]
) -> None:
    """Nobody listens yet: the ingester tries again until somebody does."""
    (port,) = free_ports(1)
    server = SoupItchServer(trades(3), port=port)
    one = ingest(server)
    one.wait(lambda: one.ready.is_set())
    threading.Event().wait(0.1)
    assert one.thread.is_alive()
    with server:
        one.wait(one.has(3))
        one.end()
        assert server.asked == [1]
    (sink,) = one.sinks
    assert sink.trades == [1, 2, 3]
    assert sink.gaps == []


def test_next_session_of_the_venue(
    ingest: Callable[..., SoupIngester], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue begins another session, from number 1: the old one is gone, the new one gets a capture and
    sinks of its own, from its first message on."""
    monkeypatch.setattr(soup, "OTHER_SESSION_MS", 100)
    monkeypatch.setattr(session, "SILENCE_NS", 1)
    with SoupItchServer(trades(5)) as server:
        one = ingest(server)
        one.wait(one.has(5))
        server.next_session(trades(7), "NEXT")
        one.wait(one.has(7, sink=1))
        one.end()
        assert [sink.session for sink in one.sinks] == ["20261121.TLSYN00001", "20261121.NEXT"]
        assert server.asked == [1, 1]


def test_server_that_has_lost_its_stream(ingest: Callable[..., SoupIngester]) -> None:
    """The server begins its session anew, under the same name: it has fewer messages than were captured, and
    others. None is taken for a copy: they are a run of their own, from 1 on."""
    with SoupItchServer(trades(50)) as server:
        one = ingest(server)
        one.wait(one.has(50))
        server.next_session(trades(7, first=101), server.session)
        one.wait(lambda: len(one.sinks) == 2 and one.sinks[1].trades == [*range(101, 108)])
        one.end()
        assert [sink.session for sink in one.sinks] == ["20261121.TLSYN00001", "20261121.TLSYN00001.r2"]
        assert one.sinks[0].trades == [*range(1, 51)]
        assert server.asked == [1, 8, 1]


def test_server_that_is_behind(ingest: Callable[..., SoupIngester]) -> None:
    """A replica that does not have all yet, but the same: nothing comes twice, and it goes on."""
    with SoupItchServer(trades(90), limit=50) as server:
        one = ingest(server)
        one.wait(one.has(50))
        server.release(40)
        server.cut()
        one.wait(lambda: server.asked == [1, 41, 1])
        server.release(90)
        one.wait(one.has(90))
        one.end()
        assert len(one.sinks) == 1


def test_session_that_has_ended_is_not_read_again(
    ingest: Callable[..., SoupIngester], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind its end the ingester looks for the next session now and then, and takes nothing of this one."""
    monkeypatch.setattr(soup, "OTHER_SESSION_MS", 20)
    with SoupItchServer(trades(5)) as server:
        server.end()
        one = ingest(server, reconnect_ms_max=20)
        one.wait(lambda: server.counters["logins"] >= 4)
        assert one.sinks[0].trades == [1, 2, 3, 4, 5]
        one.end()
        two = ingest(server, reconnect_ms_max=20)  # started anew, it knows from the capture
        logins = server.counters["logins"]
        two.wait(lambda: server.counters["logins"] >= logins + 2)
        two.end()
        assert two.sinks[0].trades == [1, 2, 3, 4, 5]
