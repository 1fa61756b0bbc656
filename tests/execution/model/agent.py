"""What the model gives the agent beside exchanges: a router that splits anyhow, a journal that crashes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from execution.destinations import Destination, Destinations
from execution.journal import Journal
from execution.market import MarketState
from execution.orders import OrderRecord
from execution.router import Decision, Slice
from execution.router import settings as routing
from execution.router.books import MarketBooks
from execution.router.smart import SmartRouter
from execution.venues import Report
from tests.execution.model.venues import CENT, REGISTRY, VENUE
from tickloom.prices import NANOS

RULE = "model"
LIMITS = """
version = 1
revision = {revision}
[firm]
daily_loss_max = "1000000"
[rules.model]
notional = "8000"
time_in_force = "{time_in_force}"
slippage_bps = 10
cancel_after_ms = 20000
signal_age_ms_max = 60000
event_age_ms_max = 60000
daily_loss_max = "1000000"
[instruments.default]
position_max = "{position}"
position_notional_max = "100000000"
order_notional_max = "100000"
collar_bps = 500
quote_age_ms_max = 3600000
feed_age_ms_max = 3600000
"""


class Crash(BaseException):
    """The agent's process is gone. No Exception: nothing in the agent may catch it."""


class CrashingJournal(Journal):
    """Crashes before or after one of the next commits."""

    left: int = 0
    after: bool = False

    def _commit(self) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Crash
        super()._commit()
        if self.left == 0 and self.after:
            raise Crash


def smart_router(
    market: MarketState, connected: Callable[[str], bool], order_of: Callable[[str], OrderRecord | None]
) -> SmartRouter:
    """The agent's own, over the venues of the model."""
    destinations = [
        Destination("XNAS", VENUE, "one", book=VENUE, maker_fee=-2_000_000, taker_fee=3_000_000),
        Destination("XTWO", VENUE, "two", book=VENUE),
        Destination("DARK", VENUE, "two", kind="dark", book=VENUE),
    ]
    known = Destinations({one.name: one for one in destinations})
    return SmartRouter(routing.load(), known, REGISTRY, MarketBooks(market), connected, order_of)


class RandomRouter:
    """Splits anyhow. Sometimes it wants more than there is, which must not leave."""

    def __init__(self, rng: random.Random, on: bool) -> None:
        self.rng, self.on = rng, on

    def routes(self, venue: str) -> bool:
        return self.on

    def on_report(self, child: OrderRecord, report: Report, now_ns: int) -> None:
        assert child.parent_id

    def decide(self, parent: OrderRecord, children: Sequence[OrderRecord], now_ns: int) -> Decision | None:
        rng = self.rng
        working = sum(child.leaves for child in children)
        left = (parent.quantity - parent.filled_quantity - working) // NANOS
        rest = [child.order_id for child in children if child.leaves and rng.random() < 0.1]
        if left <= 0 or rng.random() < 0.4:
            return Decision(cancel=rest) if rest else None
        if rng.random() < 0.05:
            return Decision(done=True, why="enough")
        greed = 5 if rng.random() < 0.02 else 0
        slices = []
        for _ in range(rng.randint(1, 2)):
            shares = min(rng.randint(1, 40), left) + greed * left
            left -= min(shares, left)
            if shares:
                slices.append(self._slice(parent, shares * NANOS))
        return Decision(slices, rest, record=b'{"books":{}}')

    def _slice(self, parent: OrderRecord, quantity: int) -> Slice:
        rng = self.rng
        if rng.random() < 0.3:
            return Slice("DARK", quantity, parent.limit_price, "midpoint", rng.choice(("ioc", "day")))
        away = rng.randint(0, 40) * CENT * (-1 if parent.side == "buy" else 1)
        destination = rng.choice(("XNAS", "XTWO"))
        tif = rng.choice(("ioc", "day", "day"))
        post = tif == "day" and rng.random() < 0.5
        return Slice(destination, quantity, parent.limit_price + away, "limit", tif, post_only=post)
