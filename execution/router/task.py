"""One decision under way: the parent, what there is for it, and what was weighed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from execution.destinations import Destination
from execution.orders import OrderRecord
from execution.router import Slice
from execution.router.allocation import BPS, Offer
from execution.router.books import BookView, Levels
from execution.router.experience import Known
from execution.router.legs import Allowance
from execution.router.standing import Standing
from execution.router.waiting import Bet
from tickloom.instruments import Instrument

PATIENT = "day"  # time in force of a parent that may wait for a better price


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A destination now. levels: what of its far side is believed in; out: why it is not asked."""

    destination: Destination
    known: Known
    book: BookView | None
    levels: Levels
    out: str


class Task(msgspec.Struct, frozen=True, gc=False):
    """What a decision is about. free: what may be handed out, nanos, in lots.

    near, far: best prices of all trusted lit books, or None; mid: between them, else the parent's limit.
    bound: the worst price to take at. rounds_max: decisions that may make orders.
    """

    parent: OrderRecord
    instrument: Instrument
    stand: Standing
    leg: Allowance | None
    candidates: list[Candidate]
    free: int
    near: int | None
    far: int | None
    mid: int
    bound: int
    rounds_max: int
    now_ns: int

    @property
    def patient(self) -> bool:
        return self.parent.time_in_force == PATIENT

    @property
    def laggard(self) -> bool:
        """Behind the other leg of its pair."""
        return self.leg is not None and self.leg.laggard

    @property
    def last(self) -> bool:
        """Whether this is the last round, or one after it."""
        return self.stand.rounds >= self.rounds_max - 1


class Weighed(msgspec.Struct, frozen=True, gc=False):
    """What came of it. why: in a few words."""

    action: str
    why: str
    slices: list[Slice] = []
    offers: list[Offer] = []
    bets: list[Bet] = []


def reaches(side: str, limit_price: int, price: int) -> bool:
    """Whether a limit allows a price."""
    return price <= limit_price if side == "buy" else price >= limit_price


def touch(candidates: Sequence[Candidate], side: str) -> tuple[int | None, int | None]:
    """The best near and far price of all trusted lit books."""
    near: int | None = None
    far: int | None = None
    for one in candidates:
        book = one.book
        if book is None or one.out or one.destination.dark:
            continue
        if book.near(side):
            at = book.near(side)[0][0]
            if near is None or reaches(side, at, near):
                near = at
        if book.far(side):
            at = book.far(side)[0][0]
            if far is None or reaches(side, far, at):
                far = at
    return near, far


def take_bound(parent: OrderRecord, laggard: bool, far: int | None, cross_bps: float, tick: int) -> int:
    """The worst price to take at: the parent's limit; for a laggard no further than ``cross_bps`` past the
    far touch either."""
    if not laggard or far is None:
        return parent.limit_price
    cross = int(far * cross_bps / BPS) // tick * tick
    if parent.side == "buy":
        return min(parent.limit_price, far + cross)
    return max(parent.limit_price, far - cross)
