"""What a synthetic session is made of: seed, length, rates, and the calibrated pairs.

The model, in the order in which it is applied:

* **Fair values.** Each stock follows a random walk with a factor common to all (``beta`` 0.5 to 1.5).
* **Pairs.** ``leg_a - hedge_ratio * leg_b`` is ``mean`` plus an Ornstein-Uhlenbeck deviation, half of
  it carried by each leg. Some dislocations are planned per session: the spread is driven to 2.9 to 3.4
  deviations within about a second and reverts by itself. The rule's author uses these constants:

  ==========  ==========  ===========  ========  =========
  pair        spread      hedge ratio  mean      deviation
  ==========  ==========  ===========  ========  =========
  ALFA~BRVO   ALFA-BRVO   1.2          9.90      0.20
  ECHO~FXTR   ECHO-FXTR   1.05         12.3325   0.20
  ==========  ==========  ===========  ========  =========

* **Bursts.** A stock that is no leg of a pair is swept: 8 to 14 marketable orders of one side within
  0.25 to 0.6 s, each taking the best level, price moving about a tick with each. The fair value goes
  along and comes half of the way back.
* **Order flow.** Orders join, leave, shrink, move and trade around the fair value: adds (A, some with
  attribution F), cancels (X), deletes (D), replaces (U), executions of resting orders (E, a few C), and
  trades against hidden orders (P). The book never locks or crosses, and no side of it runs empty.
* **Session.** System events O, S, Q, M, E, C; directory R and trading action H of each stock; opening
  crosses (Q); one stock is paused (P), quoted (Q) and resumed (T) in the middle of the session.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.instruments import Instrument, Pair, Registry
from tickloom.prices import NANOS

VENUE = "XNAS"
OPEN_NS = int(9.5 * 3600) * NS_PER_S  # 09:30 New York, ns since midnight
MESSAGES_PER_S = 1_500.0  # of market time, all stocks together, at intensity 1

#: (mean, deviation) of a pair's spread in dollars: what the market is made with.
_PAIR_CONSTANTS = {"ALFA~BRVO": (9.90, 0.20), "ECHO~FXTR": (12.3325, 0.20)}
_DEVIATION_DEFAULT = 0.20


@dataclass(frozen=True, slots=True)
class PairParameters:
    """The constants of a pair: ``leg_a - hedge_ratio * leg_b`` is ``mean`` +- ``deviation`` dollars."""

    symbol: str
    leg_a: str
    leg_b: str
    hedge_ratio: float
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class MarketParameters:
    """A synthetic session of the stocks.

    Attributes
    ----------
    seed : int
        The same seed and parameters give the same bytes.
    duration_s : float
        Market time between the opening at 09:30 New York and the close.
    intensity : float
        1 is about 1,500 ITCH messages a market second over all stocks.
    session_date : date
        The trading day; weekends and holidays are as good as any day.
    stocks_max : int
        Only the first so many stocks of the registry (0: all); a pair needs both its legs.
    """

    seed: int = 20_240_808
    duration_s: float = 240.0
    intensity: float = 1.0
    session_date: date = date(2024, 8, 8)
    stocks_max: int = 0
    registry: Registry = field(default_factory=Registry.load, compare=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.duration_s <= 23_400.0:
            raise ValueError(f"duration_s {self.duration_s} is not within the 23,400 s of a trading day")
        if not 0.0 < self.intensity <= 1_000.0:
            raise ValueError(f"intensity {self.intensity} is not within (0, 1000]")

    @property
    def stocks(self) -> list[Instrument]:
        """The stocks, in the order of the registry; index + 1 is the stock locate code."""
        listed = self.registry.of_venue(VENUE)
        return listed[: self.stocks_max] if self.stocks_max else listed

    @property
    def pairs(self) -> list[PairParameters]:
        """The pairs both legs of which are traded in this session."""
        traded = {item.symbol for item in self.stocks}
        return [p for p in pair_parameters(self.registry) if {p.leg_a, p.leg_b} <= traded]

    @property
    def midnight_ns(self) -> int:
        """New York's midnight of the session date, ns since the epoch: what ITCH times count from."""
        return midnight_ns(self.session_date)

    @property
    def open_ns(self) -> int:
        """09:30 New York of the session date, ns since the epoch."""
        return self.midnight_ns + OPEN_NS

    @property
    def close_ns(self) -> int:
        """End of the session, ns since the epoch."""
        return self.open_ns + round(self.duration_s * NS_PER_S)


def midnight_ns(session_date: date) -> int:
    """New York's midnight of ``session_date``, ns since the epoch, UTC."""
    local = datetime.combine(session_date, time(), tzinfo=ZoneInfo("America/New_York"))
    offset = local.utcoffset()
    assert offset is not None
    days = session_date.toordinal() - date(1970, 1, 1).toordinal()
    return days * NS_PER_DAY - round(offset.total_seconds()) * NS_PER_S


def pair_parameters(registry: Registry | None = None) -> list[PairParameters]:
    """The registry's pairs of stocks with the mean and deviation that sessions are made with."""
    registry = registry or Registry.load()
    return [_parameters_of(pair, registry) for pair in registry.pairs.values() if pair.venue == VENUE]


def _parameters_of(pair: Pair, registry: Registry) -> PairParameters:
    ratio = pair.hedge_ratio / NANOS
    leg_a = registry.instruments[(pair.venue, pair.leg_a)].reference / NANOS
    leg_b = registry.instruments[(pair.venue, pair.leg_b)].reference / NANOS
    fallback = (round(leg_a - ratio * leg_b, 6), _DEVIATION_DEFAULT)
    mean, deviation = _PAIR_CONSTANTS.get(pair.symbol, fallback)
    return PairParameters(pair.symbol, pair.leg_a, pair.leg_b, ratio, mean, deviation)
