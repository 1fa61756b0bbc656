"""A parent and its children in, where it stands out. Pure: nothing is kept, so a restart changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from execution.orders import OrderRecord
from tickloom.events import OrderState

WORKING = frozenset({OrderState.NEW, OrderState.PARTIALLY_FILLED})


@dataclass(frozen=True, slots=True)
class Standing:
    """filled, open, free: nanos; open is what children may still fill, at the worst.

    rounds: how often the destination was asked that was asked most often; a decision asks each once at most.
    pinged_last: where the newest child pinged. shunned: destinations that rejected a part of this parent, or
    do not answer.
    """

    filled: int
    open: int
    free: int
    rounds: int
    pings: Counter[str]
    pinged_last: str
    posts: int
    resting: tuple[OrderRecord, ...]
    shunned: dict[str, str]


def standing(parent: OrderRecord, children: Sequence[OrderRecord]) -> Standing:
    """Where a parent stands. children: in the order in which they were made."""
    filled = open_quantity = posts = 0
    asked: Counter[str] = Counter()
    pings: Counter[str] = Counter()
    resting = []
    shunned: dict[str, str] = {}
    for child in children:
        filled += child.filled_quantity
        open_quantity += child.leaves
        asked[child.sent_to] += 1
        if child.order_type == "midpoint":
            pings[child.sent_to] += 1
        elif child.time_in_force != "ioc":
            posts += 1
            if child.state in WORKING:
                resting.append(child)
        if child.state is OrderState.REJECTED:
            shunned[child.sent_to] = "it rejected a part of this order"
        elif child.state is OrderState.UNKNOWN:
            shunned[child.sent_to] = "an order there has no answer"
    filled = max(filled, parent.filled_quantity)
    free = max(0, parent.quantity - filled - open_quantity)
    return Standing(
        filled,
        open_quantity,
        free,
        max(asked.values(), default=0),
        pings,
        children[-1].sent_to if children and children[-1].order_type == "midpoint" else "",
        posts,
        tuple(resting),
        shunned,
    )
