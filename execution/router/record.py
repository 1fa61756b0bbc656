"""A decision and what it saw as JSON, for the journal: small, and read again by the regret report."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from execution.router.allocation import Offer
from execution.router.books import BookView
from execution.router.task import Candidate, Task, Weighed
from execution.router.waiting import Bet
from tickloom.clock import NS_PER_MS, NS_PER_US
from tickloom.prices import format_nanos

RECORD_VERSION = 1
LEVELS_KEPT = 5  # a side that is looked at; the near side keeps its best

_encode = msgspec.json.Encoder().encode
#: Prices, sizes and fees recur; writing them as text was half of what a decision cost.
_text = lru_cache(maxsize=16_384)(format_nanos)


class SeenBook(msgspec.Struct, omit_defaults=True, gc=False):
    """One destination as it was seen. far, near: [price, size] as decimal text, best first; ages in ms.

    usable: what of ``far`` was believed in. fill, hidden, post: expected shares; fees are a share's.
    out: why it was left out.
    """

    destination: str
    far: list[tuple[str, str]]
    near: list[tuple[str, str]]
    age_ms: int = -1
    feed_age_ms: int = -1
    usable: str = ""
    taker_fee: str = "0"
    maker_fee: str = "0"
    fill: float = 0.0
    hidden: float = 0.0
    post: float = 0.0
    latency_us: int = 0
    out: str = ""


class Option(msgspec.Struct, omit_defaults=True, gc=False):
    """What was weighed. cost: expected all-in a share, and a sale's is below 0; gain: a share."""

    action: str
    destination: str
    cost: str
    price: str = ""
    quantity: str = ""
    probability: float = 1.0
    gain: str = ""


class ChosenSlice(msgspec.Struct, omit_defaults=True, gc=False):
    """A slice as it was handed out."""

    destination: str
    quantity: str
    limit_price: str
    order_type: str
    time_in_force: str
    why: str


class DecisionRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """All of it. ts: our clock; ts_market: the market's own time by the newest book, both ns since the epoch.

    free: what could be handed out. legs: money without a hedge, below 0: this leg is behind.
    settings: digest of the routing file.
    """

    version: int
    ts: int
    ts_market: int
    side: str
    quantity: str
    filled: str
    open: str
    free: str
    limit: str
    round: int
    action: str
    why: str
    settings: str
    mid: str = ""
    unhedged: str = ""
    books: list[SeenBook] = []
    options: list[Option] = []
    slices: list[ChosenSlice] = []
    cancel: list[str] = []


def encode(record: DecisionRecord) -> bytes:
    """As JSON."""
    return _encode(record)


def decode(raw: bytes | str) -> DecisionRecord:
    """A record that was kept.

    Raises
    ------
    msgspec.ValidationError
        It is none.
    """
    return msgspec.json.decode(raw, type=DecisionRecord)


def write(task: Task, weighed: Weighed, cancel: list[str], digest: str) -> bytes:
    """The record of a decision. digest: of the routing file in force."""
    stand, parent = task.stand, task.parent
    books = [one.book for one in task.candidates if one.book is not None]
    return encode(
        DecisionRecord(
            version=RECORD_VERSION,
            ts=task.now_ns,
            ts_market=max((book.ts_event for book in books), default=0),
            side=parent.side,
            quantity=_text(parent.quantity),
            filled=_text(stand.filled),
            open=_text(stand.open),
            free=_text(task.free),
            limit=_text(parent.limit_price),
            round=stand.rounds,
            action=weighed.action,
            why=weighed.why,
            settings=digest,
            mid=_text(task.mid),
            unhedged="" if task.leg is None else _text(task.leg.unhedged),
            books=[_seen(one, task) for one in task.candidates],
            options=_options(weighed.offers, weighed.bets),
            slices=[
                ChosenSlice(
                    *(one.destination, _text(one.quantity), _text(one.limit_price)),
                    *(one.order_type, one.time_in_force, one.why),
                )
                for one in weighed.slices
            ],
            cancel=cancel,
        )
    )


def _seen(one: Candidate, task: Task) -> SeenBook:
    book, known, destination = one.book, one.known, one.destination
    far, near = _levels(book, task.parent.side)
    return SeenBook(
        destination=destination.name,
        far=far,
        near=near,
        age_ms=-1 if book is None else (task.now_ns - book.ts_recv) // NS_PER_MS,
        feed_age_ms=-1 if book is None else (task.now_ns - book.feed_ts) // NS_PER_MS,
        usable="" if destination.dark else _text(sum(size for _, size in one.levels)),
        taker_fee=_text(destination.taker_fee),
        maker_fee=_text(destination.maker_fee),
        fill=round(known.fill.mean, 4),
        hidden=round(known.hidden.mean, 4),
        post=round(known.post.mean, 4),
        latency_us=known.one_way_ns // NS_PER_US,
        out=one.out,
    )


def _options(offers: list[Offer], bets: list[Bet]) -> list[Option]:
    """The best level of each destination to take, and every bet."""
    takes: dict[str, Offer] = {}
    for offer in offers:
        takes.setdefault(offer.destination, offer)
    found = [
        Option("take", one.destination, _text(one.cost), _text(one.price), _text(one.size))
        for one in takes.values()
    ]
    for one in bets:
        gain = "" if one.saving is None else _text(round(one.gain))
        chance = round(one.probability, 4)
        found.append(
            Option(
                *(one.action, one.destination, _text(one.cost), _text(one.price)),
                probability=chance,
                gain=gain,
            )
        )
    return found


def _levels(book: BookView | None, side: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(far, near) as they are kept."""
    if book is None:
        return [], []
    far, near = book.far(side)[:LEVELS_KEPT], book.near(side)[:1]
    return (
        [(_text(price), _text(size)) for price, size in far],
        [(_text(price), _text(size)) for price, size in near],
    )
