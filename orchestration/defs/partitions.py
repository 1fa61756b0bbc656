"""How the work is cut: by the day of the session and the venue."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from tickloom.instruments import Registry
from tickloom.settings import DagsterSettings, StackSettings

SESSION_DAYS = dg.DailyPartitionsDefinition(
    start_date=datetime.fromisoformat(DagsterSettings.load().first_day).replace(tzinfo=UTC),
    end_offset=1,  # today's session may be loaded and reconciled before the day is over
)
#: Venues with a market; a feed of news has none that could be loaded or reconciled.
VENUES = dg.StaticPartitionsDefinition(
    sorted(code for code, venue in Registry.load().venues.items() if venue.feed != "news")
)
DAY_AND_VENUE = dg.MultiPartitionsDefinition({"date": SESSION_DAYS, "venue": VENUES})


def day_and_venue(context: dg.AssetExecutionContext) -> tuple[str, str]:
    """The run's partition as ("YYYY-MM-DD", venue)."""
    key = context.partition_key
    if not isinstance(key, dg.MultiPartitionKey):
        raise dg.Failure(f"partition {key!r} is not a day and a venue, such as 2026-11-21|XNAS")
    return key.keys_by_dimension["date"], key.keys_by_dimension["venue"]


def capture_sessions(day: str, venue: str) -> list[Path]:
    """Capture folders of a venue's sessions on a day, in the order of their names."""
    root = StackSettings.load().data_dir / "capture" / venue
    return sorted(path for path in root.glob(f"{day.replace('-', '')}*") if path.is_dir())
