"""Levels of several books in, how much to take of each out, at the least expected cost. Pure.

A share taken from a level costs, in nanos and with d = +1 for a buy and -1 for a sell,

    d * price + taker fee + (1 - fill probability) * miss + latency * drift

where ``miss`` is how much more a share that was gone is had for later. The sum over shares is linear and each
level bounds its own part, so taking the cheapest levels first is the least there is (a fractional knapsack in
whole lots; ``tests/execution/router`` holds it to all allocations of small books). Ties go to the lower
latency, then to the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import msgspec

BPS = 10_000


class Offer(msgspec.Struct, frozen=True, gc=False):
    """A level that may be taken. price, size: nanos; cost: expected all-in nanos a share, lower is better."""

    destination: str
    price: int
    size: int
    cost: int
    latency_ns: int = 0


@dataclass(slots=True)
class Share:
    """What one destination gets. quantity: of what it displays; worst: the last level's price, nanos."""

    destination: str
    quantity: int
    worst: int
    cost: int  # of its dearest share
    latency_ns: int


def uncertainty(fill: float, miss: float, latency_ns: int, drift_per_ns: float) -> int:
    """What a share of a destination is expected to cost beside price and fee, nanos; see the module.

    miss: nanos; drift_per_ns: nanos of price a nanosecond.
    """
    return round((1.0 - fill) * miss + latency_ns * drift_per_ns)


def all_in(side: str, price: int, fee: int) -> int:
    """Price and fee as a cost, nanos a share: lower is better, and a sale's is below 0."""
    return price + fee if side == "buy" else fee - price


_rank = attrgetter("cost", "latency_ns", "destination", "price")


def rank(offers: Sequence[Offer]) -> list[Offer]:
    """The cheapest first; ties by latency, name and price."""
    return sorted(offers, key=_rank)


def allocate(offers: Sequence[Offer], quantity: int, lot: int) -> list[Share]:
    """Shares of ``quantity``, in whole lots, the cheapest destination first.

    Parameters
    ----------
    offers : sequence of Offer
        As :func:`rank` has them. Levels of one destination get dearer as they get deeper, as those of a book.
    quantity, lot : int
        Nanos; what of the quantity is no whole lot is left.

    Returns
    -------
    list of Share
        Less than the quantity where no more is displayed.
    """
    left = quantity - quantity % lot
    found: dict[str, Share] = {}
    for offer in offers:
        if not left:
            break
        size = min(left, offer.size - offer.size % lot)
        if not size:
            continue
        left -= size
        share = found.get(offer.destination)
        if share is None:
            found[offer.destination] = Share(
                offer.destination, size, offer.price, offer.cost, offer.latency_ns
            )
        else:
            share.quantity += size
            share.worst, share.cost = offer.price, offer.cost
    return list(found.values())


def average_cost(offers: Sequence[Offer], quantity: int) -> int | None:
    """Of the cheapest ``quantity`` of ranked offers, nanos a share; what nobody displays costs as much as the
    dearest. None: there is nothing."""
    left, total, last = quantity, 0, None
    for offer in offers:
        size = min(left, offer.size)
        total += size * offer.cost
        left -= size
        last = offer.cost
        if not left:
            break
    if last is None:
        return None
    return (total + left * last) // quantity


def marginal_price(side: str, share: Share, marginal: int, limit_price: int, tick: int) -> int:
    """The worst price at a destination that costs no more than the sweep's dearest share, on the tick.

    Within the parent's limit, and never better than what the share itself aims at: hidden size up to there is
    taken too, and none of it is dearer than what the sweep pays elsewhere.
    """
    room = max(0, marginal - share.cost) // tick * tick
    if side == "buy":
        return max(share.worst, min(share.worst + room, limit_price))
    return min(share.worst, max(share.worst - room, limit_price))
