"""What kind of venue one is: lit or dark, its fees, its latency, its impact. From TOML to values. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import Any

from tickloom.clock import NS_PER_MS
from tickloom.errors import SettingsError
from tickloom.prices import NANOS, parse_nanos

LIT, DARK = "lit", "dark"
CANCEL_NEWEST, CANCEL_OLDEST, DECREMENT = "cancel_newest", "cancel_oldest", "decrement"
_POLICIES = (CANCEL_NEWEST, CANCEL_OLDEST, DECREMENT)
_BPS = 10_000


@dataclass(frozen=True, slots=True)
class FeeTable:
    """What an execution costs; below 0 it is a rebate.

    Attributes
    ----------
    maker, taker : int
        Nanos of the currency a share (or unit).
    maker_bps, taker_bps : int
        Of the notional, in 1e-9 basis points.
    """

    maker: int = 0
    taker: int = 0
    maker_bps: int = 0
    taker_bps: int = 0

    def of(self, added: bool, quantity: int, price: int) -> int:
        """Of one execution, nanos, rounded to the nearest. quantity, price: nanos."""
        per_unit, bps = (self.maker, self.maker_bps) if added else (self.taker, self.taker_bps)
        # sum first, so that it is rounded once
        scaled = quantity * (per_unit * NANOS * _BPS + price * bps)
        unit = NANOS * NANOS * _BPS
        return (2 * scaled + unit) // (2 * unit)


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """From a request's arrival to its being looked at: base and, uniformly, up to jitter more."""

    base_ns: int = 0
    jitter_ns: int = 0
    seed: int = 0

    def delay_ns(self, number: int) -> int:
        """Of the request with that number; the same seed and number give the same delay."""
        if not self.jitter_ns:
            return self.base_ns
        return self.base_ns + random.Random(f"{self.seed}|latency|{number}").randrange(self.jitter_ns + 1)


@dataclass(frozen=True, slots=True)
class ImpactModel:
    """How taking liquidity moves the price against the taker; see :mod:`execution.exchange.impact`.

    Attributes
    ----------
    temporary, permanent : float
        Coefficients, without unit. 0 and 0: no impact beyond walking the displayed book.
    volatility_bps : float
        Daily volatility, basis points.
    daily_volume : int
        Shares (or units) that trade in a day, nanos.
    half_life_s : float
        In which the temporary part halves.
    """

    temporary: float = 0.0
    permanent: float = 0.0
    volatility_bps: float = 200.0
    daily_volume: int = 10_000_000 * NANOS
    half_life_s: float = 60.0

    @property
    def on(self) -> bool:
        return self.temporary > 0 or self.permanent > 0


@dataclass(frozen=True, slots=True)
class DarkModel:
    """The rest of a dark pool: who else comes there.

    Attributes
    ----------
    probability : float
        That a trade of the reference market brings a counter-order into the pool.
    share : float
        Its size, as a share of that trade's.
    life_ms : int
        How long it stays, by the market's time.
    """

    probability: float = 0.0
    share: float = 1.0
    life_ms: int = 1_000


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """One venue.

    Attributes
    ----------
    name : str
        Its code, by which orders name it.
    feed : str
        The venue whose market data it follows; of a dark one, its reference market.
    kind : str
        ``lit`` or ``dark``.
    displayed_share : float
        How much of the feed's displayed and traded size is here, above 0, at most 1.
    widen_ticks : int
        By so many ticks the feed's bids are lower and its offers higher here.
    self_trade : str
        What prevents a client from trading with itself: the newer order goes, the older one, or the
        smaller quantity of both.
    reject_share : float
        Of new orders, rejected at random.
    cancel_ahead : float
        Of the volume that is cancelled at a level of the feed, how much was ahead of our orders, as a
        multiple of the proportional share: 1 is proportional, 0 says that all was behind.
    """

    name: str
    feed: str = ""
    kind: str = LIT
    displayed_share: float = 1.0
    widen_ticks: int = 0
    self_trade: str = CANCEL_NEWEST
    reject_share: float = 0.0
    cancel_ahead: float = 1.0
    seed: int = 0
    fees: FeeTable = field(default_factory=FeeTable)
    latency: LatencyModel = field(default_factory=LatencyModel)
    impact: ImpactModel = field(default_factory=ImpactModel)
    dark: DarkModel = field(default_factory=DarkModel)

    def __post_init__(self) -> None:
        _require(self.kind in (LIT, DARK), self.name, f"kind {self.kind!r} is neither lit nor dark")
        _require(0 < self.displayed_share <= 1, self.name, "displayed_share is not in (0, 1]")
        _require(self.widen_ticks >= 0, self.name, "widen_ticks is below 0")
        _require(self.self_trade in _POLICIES, self.name, f"self_trade is none of {', '.join(_POLICIES)}")
        _require(0 <= self.reject_share <= 1, self.name, "reject_share is not in [0, 1]")
        _require(0 <= self.cancel_ahead <= 1, self.name, "cancel_ahead is not in [0, 1]")
        _require(0 <= self.dark.probability <= 1, self.name, "dark.probability is not in [0, 1]")
        _require(0 < self.dark.share <= 1, self.name, "dark.share is not in (0, 1]")
        _require(self.latency.base_ns >= 0 <= self.latency.jitter_ns, self.name, "latency is below 0")
        _require(self.impact.half_life_s > 0, self.name, "impact.half_life_s is not above 0")
        _require(self.impact.daily_volume > 0, self.name, "impact.daily_volume is not above 0")

    @property
    def source(self) -> str:
        """The feed it follows."""
        return self.feed or self.name


def _require(holds: bool, name: str, text: str) -> None:
    if not holds:
        raise SettingsError(f"venue {name}: {text}; mend its entry")


def parse(path: str, tables: dict[str, dict[str, Any]]) -> dict[str, VenueProfile]:
    """Profiles from the TOML tables ``[venues.NAME]`` of a file, with tables of the models in each.

    Decimal amounts (fees, daily_volume) are text; latency is in milliseconds (``base_ms``,
    ``jitter_ms``).

    Raises
    ------
    SettingsError
        Naming the venue and what is wrong with it.
    """
    return {name: _profile(path, name, entry) for name, entry in tables.items()}


def _profile(path: str, name: str, entry: dict[str, Any]) -> VenueProfile:
    values = dict(entry)
    try:
        fees = {key: parse_nanos(value) for key, value in values.pop("fees", {}).items()}
        latency = {
            key.replace("_ms", "_ns"): round(value * NS_PER_MS)
            for key, value in values.pop("latency", {}).items()
        }
        impact = dict(values.pop("impact", {}))
        if "daily_volume" in impact:
            impact["daily_volume"] = parse_nanos(impact["daily_volume"])
        return VenueProfile(
            name=name,
            fees=_make(FeeTable, fees),
            latency=_make(LatencyModel, {"seed": values.get("seed", 0), **latency}),
            impact=_make(ImpactModel, impact),
            dark=_make(DarkModel, values.pop("dark", {})),
            **_known(VenueProfile, values),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{path}: venue {name}: {error}; mend its entry") from None


def _make(cls: Any, values: dict[str, Any]) -> Any:
    return cls(**_known(cls, values))


def _known(cls: Any, values: dict[str, Any]) -> dict[str, Any]:
    names = [item.name for item in fields(cls)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no setting of {cls.__name__}; it has {', '.join(names)}")
    return values
