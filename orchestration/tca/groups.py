"""Costs of orders in, sums by rule, destination and time of day out. Pure.

Money adds up; basis points are weighted by notional, markouts and spreads by what was filled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from orchestration.tca.terms import ADDED, BPS, COMPONENTS, HORIZONS_S, FillCost, OrderCost
from tickloom.clock import NS_PER_S
from tickloom.prices import NANOS

BUCKETS_MIN = (1, 5, 15, 30, 60)  # minutes of a bucket of the time of day
BUCKETS_MAX = 14
_VALUE = NANOS * NANOS


@dataclass(frozen=True, slots=True)
class OrderGroup:
    """Some orders together. notional, shortfall, components: money. fill_share: of the notional decided
    on."""

    name: str
    orders: int
    notional: float
    shortfall: float
    components: dict[str, float]
    fill_share: float
    vwap_bps: float | None
    close_bps: float | None
    impact_bps: float | None
    model_bps: float | None

    def bps(self, money: float) -> float:
        return money * BPS / self.notional if self.notional else 0.0


@dataclass(frozen=True, slots=True)
class FillGroup:
    """Some executions together. notional, fees: money. early: how many the venue stamped before the
    sending."""

    name: str
    executions: int
    notional: float
    fees: float
    effective_bps: float | None
    quoted_bps: float | None
    realised_bps: float | None
    capture: float | None
    added_share: float
    arrival_bps: float | None
    early: int
    markouts_bps: dict[int, float | None] = field(default_factory=dict)


def by_rule(orders: Sequence[OrderCost]) -> list[OrderGroup]:
    """The largest notional first."""
    found = [order_group(name, own) for name, own in _grouped(orders, lambda one: one.parent.rule)]
    return sorted(found, key=lambda group: -group.notional)


def by_time(orders: Sequence[OrderCost], timezone: str) -> list[OrderGroup]:
    """By the time of day of the sending at the venue, in buckets of so many minutes that there are few."""
    if not orders:
        return []
    zone = ZoneInfo(timezone)
    minutes = [_minute(one.sent_ns, zone) for one in orders]
    width = next(
        (wide for wide in BUCKETS_MIN if max(minutes) // wide - min(minutes) // wide < BUCKETS_MAX),
        BUCKETS_MIN[-1],
    )
    grouped = _grouped(orders, lambda one: f"{_clock(_minute(one.sent_ns, zone) // width * width)}")
    return [order_group(name, own) for name, own in sorted(grouped)]


def by_destination(orders: Sequence[OrderCost]) -> list[FillGroup]:
    """The largest notional first."""
    found: dict[str, list[tuple[OrderCost, FillCost]]] = defaultdict(list)
    for order in orders:
        for fill in order.fills:
            found[fill.fill.destination].append((order, fill))
    groups = [fill_group(name, own) for name, own in found.items()]
    return sorted(groups, key=lambda group: -group.notional)


def order_group(name: str, orders: Sequence[OrderCost]) -> OrderGroup:
    """The sum of some orders."""
    decided = sum(one.notional for one in orders)
    filled = sum(one.parent.filled * one.decision.mid for one in orders)
    weights = [float(one.parent.filled_value) for one in orders]
    return OrderGroup(
        name=name,
        orders=len(orders),
        notional=decided / _VALUE,
        shortfall=sum(one.shortfall.total for one in orders) / _VALUE,
        components={
            part: sum(getattr(one.shortfall, part) for one in orders) / _VALUE for part in COMPONENTS
        },
        fill_share=filled / decided if decided else 0.0,
        vwap_bps=_mean([one.against(one.vwap) for one in orders], weights),
        close_bps=_mean([one.against(one.close) for one in orders], weights),
        impact_bps=_mean([one.impact_bps for one in orders], weights),
        model_bps=_mean([one.model_bps for one in orders], weights),
    )


def fill_group(name: str, fills: Sequence[tuple[OrderCost, FillCost]]) -> FillGroup:
    """The sum of some executions, each with its order."""
    weights = [float(one.fill.price * one.fill.quantity) for _, one in fills]
    total = sum(weights)
    own = [one for _, one in fills]
    added = sum(weight for weight, one in zip(weights, own, strict=True) if one.fill.liquidity == ADDED)
    arrival = [
        order.parent.sign * (one.fill.price - order.arrival.mid) * BPS / order.arrival.mid
        for order, one in fills
    ]
    return FillGroup(
        name=name,
        executions=len(own),
        notional=total / _VALUE,
        fees=sum(one.fill.fee for one in own) / NANOS,
        effective_bps=_mean([one.effective_bps for one in own], weights),
        quoted_bps=_mean([one.quoted_bps for one in own], weights),
        realised_bps=_mean([one.realised_bps for one in own], weights),
        capture=_mean([one.capture for one in own], weights),
        added_share=added / total if total else 0.0,
        arrival_bps=_mean(arrival, weights),
        early=sum(one.early for one in own),
        markouts_bps={
            horizon: _mean([one.markouts_bps[horizon] for one in own], weights) for horizon in HORIZONS_S
        },
    )


def _grouped(
    orders: Iterable[OrderCost], key: Callable[[OrderCost], str]
) -> Iterable[tuple[str, list[OrderCost]]]:
    found: dict[str, list[OrderCost]] = defaultdict(list)
    for one in orders:
        found[key(one)].append(one)
    return found.items()


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """Weighted, of the values that are known; None without any."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def _minute(ts: int, zone: ZoneInfo) -> int:
    when = datetime.fromtimestamp(ts // NS_PER_S, UTC).astimezone(zone)
    return when.hour * 60 + when.minute


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
