"""Settings of feeds that declare themselves (``ingest.declared``): sections ``[feeds.NAME]``.

A process that runs no such feed does not know them and lets them be; one that does refuses what is wrong in
any of them, as :mod:`tickloom.settings` does with all others.
"""

from __future__ import annotations

from tickloom.errors import SettingsError
from tickloom.settings.base import DECLARED, FEEDS
from tickloom.settings.ingest import IngestSettings


class FeedSettings(IngestSettings):
    """Base of the settings of such a feed: ``section`` is ``feeds.NAME``."""

    venue: str


#: Feeds that ``tickloom ingest live`` runs, by name: filled by ``ingest.declared``, and empty in a process
#: that did not ask it.
LIVE: dict[str, type[FeedSettings]] = {}


def declare(kind: type[FeedSettings], live: str = "") -> None:
    """Make the section of a feed's settings known, and the feed's name if it is run ``live``.

    Raises
    ------
    SettingsError
        The section is another feed's, or is no ``feeds.NAME``.
    """
    if not kind.section.startswith(f"{FEEDS}.") or DECLARED.get(kind.section, kind) is not kind:
        raise SettingsError(
            f"section {kind.section!r} of {kind.__name__}: name it {FEEDS}.NAME, a NAME of its own"
        )
    DECLARED[kind.section] = kind
    if live:
        LIVE[live] = kind
