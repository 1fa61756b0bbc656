"""Which impact model each destination is compared with: its own where it is simulated, else the usual one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from execution.exchange.instance import InstanceSettings
from execution.exchange.profile import ImpactModel
from orchestration.tca.day import Models
from orchestration.tca.terms import BPS
from storage import bars
from storage.reader import QuestDbReader
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.instruments import Registry

RETURN_DAYS = 120  # calendar days of daily returns that a volatility is estimated from
RETURNS_MIN = 20


def load(
    reader: QuestDbReader, registry: Registry, venue: str, day: str, exchange_files: Sequence[Path]
) -> Models:
    """Models of simulated destinations from their files, and the volatility of each instrument by the daily
    returns stored before the day, where there are enough.

    Raises
    ------
    SettingsError
        A file is refused.
    ServiceError, StorageError
        QuestDB cannot be read.
    """
    by_destination: dict[str, ImpactModel] = {}
    for path in exchange_files:
        profiles = InstanceSettings.load(path).profiles
        by_destination |= {name: profile.impact for name, profile in profiles.items()}
    to_ns = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * NS_PER_S
    keys = [(item.venue, item.symbol) for item in registry.of_venue(venue)]
    returns = bars.read_daily_returns(reader, keys, to_ns - RETURN_DAYS * NS_PER_DAY, to_ns)
    volatility = {}
    for _, symbol in keys:
        known = returns[(venue, symbol)].dropna()
        if len(known) >= RETURNS_MIN:
            volatility[symbol] = float(known.std() * BPS)
    return Models(by_destination, volatility)
