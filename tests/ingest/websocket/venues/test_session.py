"""Sessions of venues that stream their own snapshots, over real sockets: subscribe, resync, reconnect."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ingest.capture import CaptureReader, RecordKind, session_path
from ingest.websocket import session as shared
from ingest.websocket.coinbase import session
from ingest.websocket.links import control_event
from tests.ingest.websocket.venues.local_venue import LocalVenue, Visit
from tests.ingest.websocket.venues.wires import WIRES, Coinbase, Kraken, KrakenV2, Request, Wire
from tickloom.cli import ingest as ingest_commands
from tickloom.errors import CaptureError, SettingsError
from tickloom.events import EventBlock, GapReason, StatusCode
from tickloom.instruments import Registry
from tickloom.prices import nanos_of
from tickloom.settings import SECTIONS, StreamSettings

BIDS, ASKS = [("99.5", "1"), ("99", "2")], [("100.5", "3"), ("101", "4")]


class Kept:
    """A sink that keeps everything."""

    name = "kept"

    def __init__(self) -> None:
        self.blocks: list[EventBlock] = []

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        return {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        if len(block):
            self.blocks.append(block)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def of(self, table: str) -> list[Any]:
        return [one for block in list(self.blocks) for one in block.kinds()[table]]

    def codes(self, symbol: int) -> list[StatusCode]:
        return [StatusCode(int(one["status"])) for one in self.of("statuses") if one["symbol"] == symbol]


@pytest.fixture(params=WIRES, ids=[kind.__name__ for kind in WIRES])
def wire(request: pytest.FixtureRequest) -> Wire:
    """A venue, fresh."""
    made: Wire = request.param()
    return made


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StreamSettings]:
    """``settings(wire, url, ...)``: two instruments, quick to reconnect, capture in the test's directory."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    registry = Registry.load()

    def make(wire: Wire, url: str, **more: Any) -> StreamSettings:
        kind = SECTIONS[wire.venue.lower()]
        assert issubclass(kind, StreamSettings)
        found = [registry.by_venue_symbol(wire.venue, name) for name in wire.symbols]
        values: dict[str, Any] = {
            "instruments": tuple(item.symbol for item in found if item),
            "websocket_url": url,
            "session_date": "2021-04-17",
            "metrics_port": 0,
            "reconnect_ms": 5,
            "reconnect_ms_max": 50,
            "ping_ms": 50,
        }
        return kind.load(**{**values, **more})

    return make


@contextmanager
def running(settings: StreamSettings, sink: Kept) -> Iterator[None]:
    """A session in a thread, stopped on leaving."""
    venue = importlib.import_module(f"ingest.websocket.{type(settings).section}.session")
    stop, failures = threading.Event(), []

    def work() -> None:
        try:
            venue.run(settings, lambda: [sink], stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def wait_for(done: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Poll until ``done``."""
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        if done():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def control_events(wire: Wire, tmp_path: Path) -> list[str | None]:
    with CaptureReader(session_path(tmp_path, wire.venue, "20210417")) as reader:
        found = [record for batch in reader.batches() for record in batch]
    return [control_event(record.payload) for record in found if record.kind is RecordKind.CONTROL]


def index_of(wire: Wire, symbol: str) -> int:
    names = [item.venue_symbol for item in Registry.load().of_venue(wire.venue)]
    return names.index(symbol) + 1


def everything(wire: Wire) -> list[bytes]:
    """Both books, a change of each, a trade."""
    one, two = wire.symbols
    return [
        wire.snapshot(one, BIDS, ASKS),
        wire.snapshot(two, BIDS, ASKS),
        wire.update(one, [("99.75", "1")], [], at=1),
        wire.update(two, [], [("100.25", "2")], at=2),
        wire.trade(one, 5, "100.0", "1", "buy", at=3),
    ]


def test_session_from_subscription_to_end(wire: Wire, settings: Any, tmp_path: Path) -> None:
    """What was asked for comes out: books, trades, the end. A session that has ended is not begun anew."""

    async def script(visit: Visit) -> None:
        await visit.subscribed()
        await visit.send(*everything(wire))
        await visit.end()

    sink = Kept()
    with LocalVenue(wire, script) as venue:
        chosen = settings(wire, venue.url)
        with running(chosen, sink):
            wait_for(lambda: StatusCode.SESSION_END in sink.codes(0))
        with running(chosen, Kept()):
            pass
        assert venue.visits == 1
        channels = {(one.op, one.channel) for one in venue.requests if one.op != "ping"}
    assert len(channels) >= 3
    assert {op for op, _ in channels} == {"subscribe"}
    assert control_events(wire, tmp_path) == ["open", "end"]
    (trade,) = sink.of("trades")
    assert (trade["price"], trade["size"]) == (nanos_of("100"), nanos_of("1"))
    assert len(sink.of("book_deltas")) == 10
    assert not sink.of("gaps")


def test_lost_book_is_subscribed_anew_alone(wire: Wire, settings: Any, tmp_path: Path) -> None:
    """A spoilt book is let go and asked for again by itself, on the same connection; the other's goes on."""
    one, two = wire.symbols
    asked: list[Request] = []

    async def script(visit: Visit) -> None:
        await visit.subscribed()
        await visit.send(*everything(wire))
        await visit.pause()  # the session has seen the book whole: what comes now is a loss
        await visit.send(wire.spoilt(one, at=4))
        asked.extend(await visit.next_book())
        await visit.send(wire.update(two, [("98", "5")], [], at=5))
        await visit.send(wire.snapshot(one, BIDS, ASKS, at=6), wire.update(one, [("98", "6")], [], at=7))

    sink = Kept()
    with LocalVenue(wire, script) as venue, running(settings(wire, venue.url), sink):
        first, second = index_of(wire, one), index_of(wire, two)
        wait_for(lambda: sink.codes(first)[-1:] == [StatusCode.BOOK_SYNCED] and len(sink.codes(first)) == 3)
        wait_for(lambda: any(one["size"] == nanos_of("6") for one in sink.of("book_deltas")))
        assert venue.visits == 1
        assert sink.codes(first) == [StatusCode.BOOK_SYNCED, StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED]
        assert sink.codes(second) == [StatusCode.BOOK_SYNCED]
        assert [one["symbol"] for one in sink.of("gaps")] == [first]
    assert asked == [Request(op, wire.book_channel, one) for op in ("unsubscribe", "subscribe")]


def test_connection_that_is_cut_comes_back(wire: Wire, settings: Any, tmp_path: Path) -> None:
    """Dropped in mid-session: a gap of unknown extent, both books lost, made anew by the next connection."""

    async def script(visit: Visit) -> None:
        await visit.subscribed()
        await visit.send(*everything(wire))
        if visit.number == 0:
            await visit.send(wire.trade(wire.symbols[0], 6, "77.0", "1", "buy", at=4))
            await visit.cut()

    sink = Kept()
    with LocalVenue(wire, script) as venue, running(settings(wire, venue.url), sink):
        first = index_of(wire, wire.symbols[0])
        wait_for(lambda: len(sink.codes(first)) == 3)
        assert sink.codes(first) == [StatusCode.BOOK_SYNCED, StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED]
        assert GapReason.DISCONNECT in [one["reason"] for one in sink.of("gaps")]
    assert control_events(wire, tmp_path)[:3] == ["open", "close", "open"]


@pytest.mark.parametrize("before", [True, False], ids=["half-open", "stalled"])
def test_silent_connection_is_left(wire: Wire, settings: Any, tmp_path: Path, before: bool) -> None:
    """Neither data nor an answer to a ping, from the start or in mid-session: dropped after the limit, and
    tried again. The socket itself stays open all the time."""

    async def script(visit: Visit) -> None:
        visit.answers_pings = visit.number > 0
        await visit.subscribed()
        if visit.number > 0 or not before:
            await visit.send(*everything(wire))

    sink = Kept()
    with LocalVenue(wire, script) as venue:
        chosen = settings(wire, venue.url, silence_ms_max=400)
        with running(chosen, sink):
            first = index_of(wire, wire.symbols[0])
            wait_for(lambda: venue.visits > 1 and sink.codes(first)[-1:] == [StatusCode.BOOK_SYNCED])
    assert control_events(wire, tmp_path)[:3] == ["open", "close", "open"]


@pytest.mark.parametrize("kind", [Kraken, KrakenV2])
def test_quiet_connection_that_answers_pings_stays(kind: type[Wire], settings: Any) -> None:
    """A venue without news is no dead venue: its answers to pings are signs of life."""
    wire = kind()

    async def script(visit: Visit) -> None:
        await visit.subscribed()
        await visit.send(*everything(wire))

    sink = Kept()
    with LocalVenue(wire, script) as venue:
        chosen = settings(wire, venue.url, silence_ms_max=1_000)
        with running(chosen, sink):
            wait_for(lambda: [one.op for one in venue.requests].count("ping") > 25)
            assert StatusCode.BOOK_LOST not in sink.codes(index_of(wire, wire.symbols[0]))
        assert venue.visits == 1


def test_declined_subscription_is_asked_for_again(wire: Wire, settings: Any, tmp_path: Path) -> None:
    """One book is refused: the other is followed, and the refused one is asked for until it is there."""
    one, two = wire.symbols

    async def script(visit: Visit) -> None:
        await visit.subscribed()
        declined = wire.declined(Request("subscribe", wire.book_channel, one))
        await visit.send(declined, wire.snapshot(two, BIDS, ASKS), wire.update(two, [("98", "1")], [], at=1))
        await visit.next_book()
        await visit.send(declined)
        await visit.next_book()
        await visit.send(wire.snapshot(one, BIDS, ASKS), wire.update(one, [("98", "1")], [], at=2))

    sink = Kept()
    with LocalVenue(wire, script) as venue:
        with running(settings(wire, venue.url, snapshot_ms_max=100), sink):
            wait_for(lambda: sink.codes(index_of(wire, one)) == [StatusCode.BOOK_SYNCED])
            assert sink.codes(index_of(wire, two)) == [StatusCode.BOOK_SYNCED]
        assert venue.visits == 1
        books = [one for one in venue.requests if one.op == "unsubscribe"]
    assert {request.symbol for request in books} == {one}


def test_session_whose_numbers_are_used_up_ends(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a seq would run into the next day's, the ingester stops and says what to do."""

    async def script(visit: Visit) -> None:
        await visit.subscribed()
        await visit.send(*everything(visit.wire))

    monkeypatch.setattr(shared, "RECORDS_MAX", 4)
    with LocalVenue(Coinbase(), script) as venue:
        chosen = settings(venue.wire, venue.url)
        with pytest.raises(CaptureError, match="later session_date"):
            session.run(chosen, lambda: [Kept()], threading.Event())


@pytest.mark.parametrize("kind", WIRES, ids=[kind.__name__ for kind in WIRES])
def test_command_of_each_venue(kind: type[Wire], settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``tickloom ingest VENUE`` runs that venue's session with that venue's settings."""
    name = kind.venue.lower()
    monkeypatch.setattr(ingest_commands, "configure_logging", lambda *_: None)
    chosen = settings(kind(), "ws://127.0.0.1:1", instruments=("NO-SUCH",))
    for variable, value in chosen.environment().items():
        monkeypatch.setenv(variable, value)
    result = CliRunner().invoke(ingest_commands.app, [name])
    assert isinstance(result.exception, SettingsError)
    assert f"{name}.instruments: 'NO-SUCH' is no instrument of {kind.venue}" in str(result.exception)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"instruments": ("BTC-XYZ",)},
            "coinbase.instruments: 'BTC-XYZ' is no instrument of COINBASE; known",
        ),
        ({"instruments": ()}, "name at least one"),
        ({"websocket_url": "http://127.0.0.1:1"}, "coinbase.websocket_url"),
    ],
)
def test_settings_that_do_not_fit(settings: Any, change: dict[str, Any], message: str) -> None:
    """An unknown instrument, none, a wrong address: refused with what would fit."""
    chosen = settings(Coinbase(), "ws://127.0.0.1:1").model_copy(update=change)
    with pytest.raises(SettingsError, match=message):
        session.run(chosen, lambda: [], threading.Event())
