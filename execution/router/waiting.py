"""What trying for a better price is worth against taking now: pings of dark pools and posts. Pure.

Both are the same bet. With probability p a share is had at the better cost; else it is taken after all, and
later:

    gain = p * saving - (1 - p) * (wait * drift + leak)        nanos a share

``saving`` is the cost of taking now less that of the better price, all in; ``wait`` how long the answer
takes; ``drift`` what the price moves against us meanwhile; ``leak`` what being seen costs. The best gain
above 0 is tried; where nothing can be taken within the limit, waiting costs nothing.
"""

from __future__ import annotations

import msgspec


class Bet(msgspec.Struct, frozen=True, gc=False):
    """One thing that may be tried. price: nanos; cost: all-in nanos a share if it is had.

    ``saving``, ``gain``: nanos a share; saving None: there is nothing to be taken now.
    """

    action: str  # "ping" or "post"
    destination: str
    price: int
    cost: int
    probability: float
    wait_ns: int
    saving: int | None
    gain: float
    latency_ns: int = 0


def bet(
    action: str,
    destination: str,
    price: int,
    cost: int,
    taking: int | None,
    probability: float,
    wait_ns: int,
    drift_per_ns: float,
    leak: float,
    latency_ns: int = 0,
) -> Bet:
    """The bet with its gain. taking: what taking now costs, nanos a share; None: it cannot be done."""
    if taking is None:
        return Bet(action, destination, price, cost, probability, wait_ns, None, probability, latency_ns)
    saving = taking - cost
    gain = probability * saving - (1.0 - probability) * (wait_ns * drift_per_ns + leak)
    return Bet(action, destination, price, cost, probability, wait_ns, saving, gain, latency_ns)


def best(bets: list[Bet]) -> Bet | None:
    """The one that gains most, if any gains; ties to the cheaper, the faster, the name."""
    worth = [one for one in bets if one.gain > 0]
    if not worth:
        return None
    return min(worth, key=lambda one: (-one.gain, one.cost, one.latency_ns, one.destination))


def post_price(side: str, near: int | None, far: int | None, limit_price: int, tick: int) -> int | None:
    """Where a post goes: to the best price of its own side anywhere, within the limit, and not so far that it
    meets the other side of any book. None: there is no such price."""
    if near is None and far is None:
        return limit_price if limit_price > 0 else None
    if side == "buy":
        price = limit_price if near is None else min(near, limit_price)
        if far is not None:
            price = min(price, far - tick)
    else:
        price = limit_price if near is None else max(near, limit_price)
        if far is not None:
            price = max(price, far + tick)
    return price if price > 0 else None


def queue_share(quantity: int, ahead: int) -> float:
    """How much of what trades at a price is ours, with so much ahead of us; 1 with nothing ahead."""
    return quantity / (quantity + ahead) if quantity else 0.0
