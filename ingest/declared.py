"""Feeds that declare themselves: a folder with a ``declaration.py`` is a feed, and nothing else names it.

Such a file is small: it is read by every process that decodes anything, and imports no kernel.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from tickloom.errors import SettingsError
from tickloom.settings import IngestSettings
from tickloom.settings.feeds import FeedSettings, declare

FILE = "declaration.py"


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed that is decoded here.

    Attributes
    ----------
    decoder : str
        Module and class, ``module:name``.
    settings : type
        With the lateness and the size of segments.
    files : str
        Module and function that turns a file into a capture; empty where no file of the feed is read.
    session : str
        Module and function that captures it live, for ``tickloom ingest live``; empty where the feed has a
        command of its own, or none.
    """

    decoder: str
    settings: type[IngestSettings]
    files: str = ""
    session: str = ""


def declared() -> dict[str, Feed]:
    """Feeds by name, of the folders beside this file; their settings are known from now on.

    Raises
    ------
    SettingsError
        A declaration cannot be read, or takes the name or the section of another.
    """
    here = Path(__file__).parent
    found: dict[str, Feed] = {}
    for path in sorted(here.rglob(FILE)):
        module = ".".join(("ingest", *path.relative_to(here).with_suffix("").parts))
        try:
            feeds: dict[str, Feed] = importlib.import_module(module).FEEDS
        except Exception as error:  # whatever is wrong with code that somebody is writing
            raise SettingsError(
                f"{module}: {type(error).__name__}: {error}; mend it (docs/feeds.md, Another venue)"
            ) from error
        for name, feed in feeds.items():
            if name in found:
                raise SettingsError(
                    f"{module}: feed {name!r} is declared twice; give one of them another name"
                )
            if issubclass(feed.settings, FeedSettings):
                declare(feed.settings, name if feed.session else "")
            found[name] = feed
    return found
