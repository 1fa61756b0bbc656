"""How far one leg of a pair may run ahead of the other. Pure.

With q what a leg's parent is for, f what it has filled, o what is open of it, N its money (q at the worse of
limit and mid) and L ``leg_risk_max``, a leg may hand out no more than

    q * (f' / q' + L / N) - f - o

where the dashes are the other leg's. So even if everything open fills, and nothing of the other leg, no more
than L is without its hedge. Both legs begin with a share of L / N, and each follows the other's fills.

A leg that is behind by more than ``laggard_share`` of L stops waiting: no ping and no post, it takes. A leg
whose other half is over (filled in part, refused, given up) goes as far as that went and no further.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from execution.orders import OrderRecord, client_order_id
from execution.router.settings import LegSettings
from tickloom.prices import NANOS, format_nanos

#: Signals whose legs are remembered; beyond it the oldest is forgotten, and looked up again if need be.
SIGNALS_MAX = 4_096
TRANCHES_MAX = 100  # rounds of a parent grow with its tranches, and have an end

#: An order by its id as it is now; None: there is none.
OrderOf = Callable[[str], OrderRecord | None]


@dataclass(slots=True)
class _Leg:
    """quantity, filled, open, lot: nanos; money: of the whole, nanos. over: nothing more comes of it."""

    quantity: int
    filled: int
    open: int
    money: int
    lot: int
    over: bool

    @property
    def started(self) -> float:
        return self.filled / self.quantity if self.quantity else 1.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a leg may do now. quantity: nanos; unhedged: money of it without a hedge, nanos, below 0: it is
    behind. stop: why it ends here; empty: it does not. recall: what rests is to be taken back.
    tranches: in how many parts it goes at least, as each waits for the other leg."""

    quantity: int
    laggard: bool = False
    stop: str = ""
    unhedged: int = 0
    recall: bool = False
    tranches: int = 1


class LegRisk:
    """The legs of all signals that are being worked on.

    Legs are 0 and 1 of one signal. Both are in the journal before anything is decided for either, so a signal
    whose other leg is not there has none.
    """

    def __init__(self, settings: LegSettings, order_of: OrderOf) -> None:
        self._settings, self.order_of = settings, order_of
        self._signals: OrderedDict[str, dict[int, _Leg]] = OrderedDict()

    def look(
        self, parent: OrderRecord, filled: int, open_quantity: int, mid: int | None, lot: int
    ) -> Allowance | None:
        """What this leg may do; None: it is no leg of a pair. filled, open_quantity, mid, lot: nanos."""
        legs = self._legs(parent, lot)
        mine = legs[parent.leg]
        mine.filled, mine.open, mine.lot = filled, open_quantity, lot
        mine.money = _money(parent.quantity, max(parent.limit_price, mid or 0))
        others = [leg for number, leg in legs.items() if number != parent.leg]
        if len(others) != 1:
            return None
        return self._allowance(mine, others[0])

    def over(self, parent: OrderRecord) -> None:
        """Nothing more will be tried for this leg."""
        legs = self._signals.get(parent.signal_id, {})
        if parent.leg in legs:
            legs[parent.leg].over = True

    def _legs(self, parent: OrderRecord, lot: int) -> dict[int, _Leg]:
        legs = self._signals.get(parent.signal_id)
        known = legs is not None
        if legs is None:
            legs = self._signals[parent.signal_id] = {}
            if len(self._signals) > SIGNALS_MAX:
                self._signals.popitem(last=False)
        if parent.leg not in legs:
            legs[parent.leg] = _leg(parent, lot)
        number = 1 - parent.leg
        other = legs.get(number)
        if number not in (0, 1) or (known and (other is None or other.over)):
            return legs
        now = self.order_of(client_order_id(parent.signal_id, number))
        if now is None:
            return legs
        if other is None:
            legs[number] = _leg(now, lot)
        else:
            other.filled, other.over = max(other.filled, now.filled_quantity), now.terminal
        return legs

    def _allowance(self, mine: _Leg, other: _Leg) -> Allowance:
        unhedged = mine.filled * mine.money // mine.quantity - other.filled * mine.money // other.quantity
        matched = mine.quantity * other.filled // other.quantity
        if other.over and other.filled < other.quantity:
            room = (matched - mine.filled - mine.open) // mine.lot * mine.lot
            if room <= 0 and mine.open == 0:
                text = (
                    f"the other leg is over at {other.started:.1%}, this one at {mine.started:.1%}: "
                    f"{format_nanos(unhedged)} unhedged"
                )
                return Allowance(0, False, text, unhedged)
            return Allowance(max(0, room), True, "", unhedged, recall=room < 0)
        limit = self._settings.leg_risk_max
        if limit is None:
            return Allowance(mine.quantity, False, "", unhedged)
        room = _room(mine, other, limit)
        tranches = min(TRANCHES_MAX, 1 + mine.money // limit) if limit else TRANCHES_MAX
        laggard = unhedged < 0 and -unhedged >= limit * self._settings.laggard_share
        stop = ""
        wanted = mine.quantity - mine.filled - mine.open
        if wanted >= mine.lot > room and not (mine.open or other.open):
            stuck = other.over or _room(other, mine, limit) < other.lot
            if stuck:
                stop = (
                    f"leg_risk_max {format_nanos(limit)} is less than a lot of either leg is worth: "
                    f"{format_nanos(unhedged)} unhedged"
                )
        return Allowance(max(0, room), laggard, stop, unhedged, tranches=tranches)


def _room(mine: _Leg, other: _Leg, limit: int) -> int:
    """What of it may be handed out, nanos, in whole lots; below 0: it is past that."""
    ahead = mine.quantity * limit // mine.money if mine.money else mine.quantity
    reach = mine.quantity * other.filled // other.quantity + ahead
    return (reach - mine.filled - mine.open) // mine.lot * mine.lot


def _leg(order: OrderRecord, lot: int) -> _Leg:
    money = _money(order.quantity, order.limit_price)
    return _Leg(order.quantity, order.filled_quantity, 0, money, lot, order.terminal)


def _money(quantity: int, price: int) -> int:
    return quantity * price // NANOS
