"""The registry of venues, instruments and pairs, read from ``strategies/instruments.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tickloom.errors import SettingsError
from tickloom.prices import parse_nanos
from tickloom.toml_file import read_tables

REGISTRY_FILE = Path(__file__).resolve().parent.parent / "strategies" / "instruments.toml"


@dataclass(frozen=True, slots=True)
class Venue:
    """A place that sends market data or takes orders. ``code`` is a MIC where there is one."""

    code: str
    name: str
    feed: str
    timezone: str
    currency: str


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded. tick, lot, reference: nanos; venue_symbol: the venue's own name for it."""

    venue: str
    symbol: str
    venue_symbol: str
    kind: str
    tick: int
    lot: int
    reference: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two legs whose spread ``leg_a - hedge_ratio * leg_b`` is traded. hedge_ratio: nanos."""

    venue: str
    symbol: str
    leg_a: str
    leg_b: str
    hedge_ratio: int


class Registry:
    """Look-up by (venue, symbol); symbols of pairs are apart from those of instruments.

    ``aliases``: a ticker, which is a symbol or what stands before its dash (BTC of BTC-USDT), to the names
    that texts have for it.
    """

    def __init__(
        self,
        venues: dict[str, Venue],
        instruments: list[Instrument],
        pairs: list[Pair] | None = None,
        aliases: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.venues = venues
        self.instruments = {(item.venue, item.symbol): item for item in instruments}
        self.pairs = {(pair.venue, pair.symbol): pair for pair in pairs or []}
        self.aliases = dict(aliases or {})
        self._by_venue_symbol = {(item.venue, item.venue_symbol): item for item in instruments}

    @classmethod
    def load(cls, path: Path = REGISTRY_FILE) -> Registry:
        """Read the registry file.

        Raises
        ------
        SettingsError
            Naming the entry and what is wrong with it.
        """
        tables = read_tables(path, "It names the instruments; restore it.")
        try:
            venues = {code: _venue(code, entry) for code, entry in tables.get("venues", {}).items()}
            instruments = [_instrument(entry, venues) for entry in tables.get("instruments", [])]
            known = {(item.venue, item.symbol) for item in instruments}
            pairs = [_pair(entry, known) for entry in tables.get("pairs", [])]
            tickers = {ticker(item.symbol) for item in instruments}
            aliases = {key: _aliases(key, names, tickers) for key, names in tables.get("aliases", {}).items()}
        except (TypeError, ValueError, KeyError) as error:
            raise SettingsError(f"{path}: {error}. Compare the entry with its neighbours.") from None
        return cls(venues, instruments, pairs, aliases)

    def instrument(self, venue: str, symbol: str) -> Instrument | None:
        """The instrument, or None where the registry does not know it."""
        return self.instruments.get((venue, symbol))

    def by_venue_symbol(self, venue: str, venue_symbol: str) -> Instrument | None:
        """The instrument that the venue calls ``venue_symbol``."""
        return self._by_venue_symbol.get((venue, venue_symbol))

    def of_venue(self, venue: str) -> list[Instrument]:
        """All instruments of a venue, in the order of the file."""
        return [item for item in self.instruments.values() if item.venue == venue]


def ticker(symbol: str) -> str:
    """What texts call an instrument: its symbol, of a pair of currencies the first: BTC of BTC-USDT."""
    return symbol.partition("-")[0]


def _aliases(key: str, names: Any, tickers: set[str]) -> tuple[str, ...]:
    if key not in tickers:
        raise ValueError(f"aliases of {key!r}, which is the ticker of no instrument")
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f'aliases of {key!r} must be a list of names, such as ["Bitcoin"]')
    return tuple(names)


def _venue(code: str, entry: Mapping[str, Any]) -> Venue:
    wanted = [field.name for field in fields(Venue) if field.name != "code"]
    missing, unknown = [key for key in wanted if key not in entry], sorted(set(entry) - set(wanted))
    if missing or unknown:
        said = [f"has no {', '.join(missing)}"] if missing else []
        said += [f"has {', '.join(unknown)}, which no venue has"] if unknown else []
        raise ValueError(f"[venues.{code}] {' and '.join(said)}")
    return Venue(code=code, **entry)


def _instrument(entry: dict[str, Any], venues: dict[str, Venue]) -> Instrument:
    if entry["venue"] not in venues:
        raise ValueError(f"instrument {entry['symbol']}: unknown venue {entry['venue']}")
    values = {"venue_symbol": entry["symbol"], **entry}
    for name in ("tick", "lot", "reference"):
        values[name] = parse_nanos(values[name])
    return Instrument(**values)


def _pair(entry: dict[str, Any], known: set[tuple[str, str]]) -> Pair:
    for leg in ("leg_a", "leg_b"):
        if (entry["venue"], entry[leg]) not in known:
            raise ValueError(
                f"pair {entry['symbol']}: {leg} {entry[leg]} is no instrument of {entry['venue']}"
            )
    return Pair(**{**entry, "hedge_ratio": parse_nanos(entry["hedge_ratio"])})
