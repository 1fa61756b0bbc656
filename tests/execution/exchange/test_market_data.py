"""The exchange's own ITCH feed, read by the ingester's decoder, which shares nothing with it."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from execution.exchange.lit import LitBook
from execution.exchange.market_data import FeedWriter
from execution.exchange.matching import MatchingEngine, Outcome
from execution.exchange.mold_publisher import HEAD, MoldHistory, MoldPublisher
from execution.exchange.profile import ImpactModel, VenueProfile
from execution.exchange.requests import CancelRequest, NewOrder, OrderType
from ingest.capture import CaptureBatch
from ingest.itch.decoder import ItchDecoder
from ingest.itch.messages import unpack
from ingest.itch.moldudp64 import messages
from tests.execution.exchange.feed import CENT, REGISTRY, Market
from tickloom.events import EventBlock, Side, StatusCode
from tickloom.prices import NANOS

SESSION = "20261121.0000000001"


class Feed:
    """A venue, its feed as MoldUDP64 packets, and what a reader makes of them."""

    def __init__(self, kind: str = "lit", impact: ImpactModel | None = None) -> None:
        profile = VenueProfile("XTWO", feed="XNAS", kind=kind, impact=impact or ImpactModel())
        self.engine = MatchingEngine(REGISTRY, [], 0, {"XTWO": profile})
        self.engine.go_live(0)
        self.market = Market(self.engine)
        self.writer = FeedWriter(self.engine.markets, "XTWO", ["ALFA"], "America/New_York")
        self.engine.markets.trade_watchers.append(self.writer.on_feed_trade)
        self.history = MoldHistory("0000000001")
        self.packets = self.history.append(self.writer.begin(0))
        self.messages = [message for packet in self.packets for message in messages(packet)]

    def take(self, outcome: Outcome) -> None:
        symbols = [symbol for _, symbol in self.engine.markets.take_changed()]
        packets = self.history.append(self.writer.step(outcome, symbols, 0))
        self.packets += packets
        self.messages += [message for packet in packets for message in messages(packet)]

    def read(self) -> EventBlock:
        decoder = ItchDecoder("XTWO", SESSION)
        return decoder.decode(CaptureBatch.of([(0, n + 1, raw) for n, raw in enumerate(self.packets)]))

    def expected(self) -> dict[tuple[int, int], int]:
        """The book that the venue has."""
        book = self.engine.markets.book("XTWO", "ALFA")
        assert isinstance(book, LitBook)
        found: Counter[tuple[int, int]] = Counter()
        for side in (Side.BUY, Side.SELL):
            for price, level in book.displayed.levels(side).items():
                found[(side, price // CENT)] += level.available // NANOS
        for order in book.resting:
            side = Side.BUY if order.side == "buy" else Side.SELL
            found[(side, order.price // CENT)] += order.leaves // NANOS
        return {where: size for where, size in found.items() if size}

    def kinds(self) -> str:
        return "".join(chr(message[0]) for message in self.messages)


def levels(block: EventBlock) -> dict[tuple[int, int], int]:
    """The book that a reader ends with: (side, cents) to shares."""
    found: dict[tuple[int, int], int] = {}
    for row in block.deltas:
        found[(int(row["side"]), int(row["price"]) // CENT)] = int(row["size"]) // NANOS
    return {where: size for where, size in found.items() if size}


def order(number: int, side: str, cents: int, shares: int, tif: str = "day") -> NewOrder:
    return NewOrder(f"O{number}", "XTWO", "ALFA", side, shares * NANOS, cents * CENT, tif)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("level"), st.sampled_from([1, 2]), st.integers(99_98, 100_03), st.integers(0, 90)),
        st.tuples(st.just("quote"), st.integers(99_98, 100_01), st.integers(1, 3), st.integers(1, 90)),
        st.tuples(st.just("trade"), st.sampled_from([1, 2]), st.integers(99_98, 100_03), st.integers(1, 90)),
        st.tuples(st.just("buy"), st.sampled_from([0, 1]), st.integers(99_98, 100_03), st.integers(1, 90)),
        st.tuples(st.just("sell"), st.sampled_from([0, 1]), st.integers(99_98, 100_03), st.integers(1, 90)),
        st.tuples(st.just("cancel"), st.integers(0, 20), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(STEPS, st.booleans())
def test_reader_has_the_venues_book(steps: list[tuple[str, int, int, int]], impact: bool) -> None:
    """After anything: the ingester's decoder, fed with the datagrams, has the same levels and sizes."""
    model = ImpactModel(temporary=1.0, daily_volume=100_000 * NANOS) if impact else None
    feed = Feed(impact=model)
    for number, (what, a, b, c) in enumerate(steps):
        if what == "level":
            outcome = feed.market.level(Side(a), b, c)
        elif what == "quote":
            outcome = feed.market.quote(a, c, a + b, c)
        elif what == "trade":
            outcome = feed.market.trade(b, c, aggressor=Side(a))
        elif what == "cancel":
            live = [found for found in feed.engine.orders.values() if found.leaves]
            if not live:
                continue
            chosen = live[a % len(live)]
            request = CancelRequest(chosen.order_id, "XTWO", "ALFA", chosen.side)
            outcome = feed.engine.cancel(request, 0)
        else:
            client, tif = ("ME", "day") if a else ("YOU", "ioc")
            outcome = feed.engine.submit(client, order(number, what, b, c, tif), 0)
        feed.take(outcome)
    block = feed.read()
    assert levels(block) == feed.expected()
    assert not len(block.gaps)


def test_executions_are_told_as_such() -> None:
    """A taker of 40 meets 30 of the feed and our client's 10: two E, with the executions' numbers."""
    feed = Feed()
    feed.take(feed.market.quote(100_00, 50, 100_02, 30))
    feed.take(feed.engine.submit("ME", order(1, "sell", 100_02, 20), 0))
    before = len(feed.messages)
    feed.take(feed.engine.submit("YOU", order(2, "buy", 100_02, 40, "ioc"), 0))
    executed = [unpack(message) for message in feed.messages[before:] if message[:1] == b"E"]
    assert [(item["shares"], item["match_number"]) for item in executed] == [(30, 1), (10, 2)]
    trades = feed.read().trades
    assert [(int(row["price"]) // CENT, int(row["size"]) // NANOS) for row in trades] == [
        (100_02, 30),
        (100_02, 10),
    ]


def test_trade_of_the_followed_feed_takes_from_its_level() -> None:
    """30 trade at the offer: an E there, whatever the depth topic says later."""
    feed = Feed()
    feed.take(feed.market.quote(100_00, 50, 100_02, 30))
    before = len(feed.messages)
    feed.take(feed.market.trade(100_02, 10, aggressor=Side.BUY))
    kinds = [chr(message[0]) for message in feed.messages[before:]]
    assert kinds[0] == "E"
    assert len(feed.read().trades) == 1


def test_directory_halts_and_end() -> None:
    """It begins with O, S, Q, the directory and the state; halts are told; the session ends with M, E, C."""
    feed = Feed()
    assert feed.kinds() == "SSSRH"
    feed.engine.halt("XTWO", "ALFA", "on demand")
    feed.take(feed.market.quote(100_00, 50, 100_02, 30))
    feed.take(feed.market.status(StatusCode.MARKET_CLOSE, symbol=0))
    statuses = [StatusCode(int(row["status"])) for row in feed.read().statuses]
    assert StatusCode.HALTED in statuses
    assert statuses[-1] is StatusCode.SESSION_END


def test_dark_venue_tells_trades_only() -> None:
    """No order of it is seen; the trade is a P at the midpoint."""
    feed = Feed(kind="dark")
    feed.take(feed.market.quote(100_00, 50, 100_02, 30))
    peg = order(1, "buy", 0, 10)
    feed.take(feed.engine.submit("ME", NewOrder(*_parts(peg), order_type=OrderType.MIDPOINT), 0))
    sell = NewOrder("S", "XTWO", "ALFA", "sell", 10 * NANOS, 0, "day", OrderType.MIDPOINT)
    feed.take(feed.engine.submit("YOU", sell, 0))
    assert feed.kinds() == "SSSRHP"
    assert unpack(feed.messages[-1])["price"] == 100_0100


def _parts(request: NewOrder) -> tuple[str, str, str, str, int, int, str]:
    return ("B", request.venue, request.symbol, request.side, request.quantity, 0, "day")


def test_requests_are_answered_from_the_history() -> None:
    """What was sent can be asked for again; what was not, or is another session's, cannot."""
    history = MoldHistory("0000000001")
    sent = history.append([b"one", b"two", b"three"])
    assert history.answer(HEAD.pack(history.session, 1, 3)) == sent
    (packet,) = history.answer(HEAD.pack(history.session, 2, 9))
    assert [bytes(message) for message in messages(packet)] == [b"two", b"three"]
    for request in (
        HEAD.pack(history.session, 4, 1),
        HEAD.pack(history.session, 0, 1),
        HEAD.pack(b"0000000002", 1, 1),
        b"short",
    ):
        assert history.answer(request) == []
    assert HEAD.unpack(history.heartbeat()) == (history.session, 4, 0)


def test_datagrams_and_requests_over_udp() -> None:
    """Through sockets: a packet arrives, and a request for it is answered."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        received: asyncio.Queue[bytes] = asyncio.Queue()

        class Reader(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                received.put_nowait(data)

        reader, _ = await loop.create_datagram_endpoint(Reader, local_addr=("127.0.0.1", 0))
        port = reader.get_extra_info("sockname")[1]
        publisher = MoldPublisher("127.0.0.1", port, "127.0.0.1", 0)
        rerequest = await publisher.start()
        publisher.publish([b"first"])
        async with asyncio.timeout(10):
            told = await received.get()
            reader.sendto(HEAD.pack(publisher.history.session, 1, 1), ("127.0.0.1", rerequest))
            again = await received.get()
        assert told == again
        reader.close()
        await publisher.close()

    asyncio.run(run())
