"""Times as users write them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from tickloom.errors import SettingsError


def time_ns(text: str) -> int:
    """An ISO time, UTC if it has no zone, in ns since the epoch.

    Raises
    ------
    SettingsError
        It is no time.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no time such as 2026-11-20T14:30:00") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1_000_000) * 1_000


def day_of(text: str) -> date:
    """A day, YYYY-MM-DD.

    Raises
    ------
    SettingsError
        It is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no day such as 2026-11-20") from None


def utc(ts: int) -> str:
    """ns since the epoch as people read it, to the second; UTC."""
    return datetime.fromtimestamp(ts // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
