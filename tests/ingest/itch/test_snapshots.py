"""A gap that nobody resends, and a GLIMPSE server, over real sockets: whole again, over restarts too."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from ingest.capture import CaptureReader
from ingest.itch import snapshots
from ingest.itch.decoder import ItchDecoder
from ingest.itch.moldudp64 import pack_end
from ingest.itch.session import track
from ingest.synthetic.glimpse import state_of
from ingest.synthetic.soup_server import SoupItchServer
from tests.ingest.itch.faulty_lines import MOLD, Venue, decode, sound_tape, undisturbed
from tests.ingest.itch.rig import Rig
from tickloom.events import Side, StatusCode

NAME = MOLD.decode()
TAPE = sound_tape(300, 8)


class Market:
    """A venue that loses some of its packets, resends nothing, and has a GLIMPSE server."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.venue = Venue.of(TAPE, random.Random(8))
        self.sent = 0

    def send(self, count: int, lost: int = 0) -> None:
        for index in range(self.sent, self.sent + count + lost):
            if index >= self.sent + lost:
                self.rig.send(self.venue.packet(index))
        self.sent += count + lost

    def state(self) -> list[bytes]:
        return state_of(TAPE[: self.venue.bounds[self.sent]])

    def finish(self) -> None:
        """The rest, once the snapshot is captured: it is told with the messages behind it."""
        self.rig.wait(lambda: track(self.rig.capture(f"20261121.{NAME}"), NAME).wanted == 0)
        self.send(len(self.venue.bounds) - 1 - self.sent)
        self.rig.send(pack_end(MOLD, len(TAPE) + 1))

    def decoder(self) -> tuple[ItchDecoder, list[int]]:
        """A decoder that had the capture as it is now, and the statuses that it gave."""
        decoder = ItchDecoder("XNAS", f"20261121.{NAME}")
        with CaptureReader(self.rig.capture(f"20261121.{NAME}")) as reader:
            found = [decoder.decode(batch).statuses["status"].tolist() for batch in reader.batches()]
        return decoder, [status for statuses in found for status in statuses]

    def count(self, name: str) -> int:
        return self.decoder()[0].counters[name]

    def at_the_end(self) -> tuple[ItchDecoder, list[int]]:
        """:meth:`decoder`, once all of the session is captured."""
        self.rig.wait(lambda: self.decoder()[0].ended)
        return self.decoder()

    def undisturbed(self) -> ItchDecoder:
        """A decoder that had the session with nothing lost."""
        return decode(undisturbed(self.venue))[0]


def books(decoder: ItchDecoder) -> list[list[tuple[int, int]]]:
    """Levels of both stocks, bids and asks."""
    return [decoder.books.side_levels(locate, side) for locate in (1, 2) for side in (Side.BUY, Side.SELL)]


@pytest.fixture
def market(make_rig: Callable[..., Rig], free_ports: Callable[[int], list[int]]) -> Market:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    login = {"soup_username": "ITCH", "soup_password": "secret", "snapshot_address": address}
    return Market(make_rig(gap_timeout_ms=30, reconnect_ms=5, reconnect_ms_max=50, **login))


def port_of(market: Market) -> int:
    return int(market.rig.settings.snapshot_address.partition(":")[2])


def test_snapshot_makes_books_whole(market: Market) -> None:
    """Given up, a gap is followed by a snapshot, and the books are those of an undisturbed run."""
    with SoupItchServer([], snapshot=market.state, port=port_of(market)) as server:
        market.send(30)
        market.rig.wait(lambda: len(market.rig.sinks) > 0)
        market.send(10, lost=3)
        market.rig.wait(lambda: market.count("sequence_gaps") == 1)
        market.finish()
        decoder, statuses = market.at_the_end()
        assert StatusCode.BOOK_SYNCED in statuses
        assert decoder.counters["snapshots"] == 1
        assert books(decoder) == books(market.undisturbed())
        market.rig.end()
        market.rig.wait(lambda: server.counters["logouts"] == server.counters["logins"])


def test_snapshot_from_before_the_gap_is_asked_for_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server lags behind the feed: what it gives is of no use until it has what was lost."""
    monkeypatch.setattr(snapshots, "OLD_MS", 10)
    states = [state_of(TAPE[:20]), state_of(TAPE[:20])]
    with SoupItchServer(
        [], snapshot=lambda: states.pop() if states else market.state(), port=port_of(market)
    ) as server:
        market.send(30)
        market.send(10, lost=3)
        market.rig.wait(lambda: server.counters["logins"] == 3)
        market.finish()
        decoder, statuses = market.at_the_end()
        assert StatusCode.BOOK_SYNCED in statuses
        assert decoder.counters["snapshots"] == 1
        assert books(decoder) == books(market.undisturbed())
        market.rig.end()
        market.rig.wait(lambda: server.counters["logouts"] == server.counters["logins"])


def test_server_away_and_ingester_started_anew(market: Market) -> None:
    """Nobody listens: the feed goes on with its books lost. Stopped and started, the ingester knows from the
    capture that it wants a snapshot, and has it once the server is there."""
    market.send(30)
    market.send(10, lost=3)
    market.rig.wait(lambda: bool(market.rig.sinks) and market.count("sequence_gaps") == 1)
    market.rig.end()
    assert StatusCode.BOOK_SYNCED not in market.decoder()[1]
    market.rig.start()
    with SoupItchServer([], snapshot=market.state, port=port_of(market)) as server:
        market.finish()
        decoder, statuses = market.at_the_end()
        assert StatusCode.BOOK_SYNCED in statuses
        assert decoder.counters["snapshots"] == 1
        assert books(decoder) == books(market.undisturbed())
        market.rig.end()
        market.rig.wait(lambda: server.counters["logouts"] == server.counters["logins"])
