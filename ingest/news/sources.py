"""``strategies/news.toml`` in, checked sources out. Pure but for reading that file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ingest.news.documents import JSON_LINES, KINDS
from tickloom.errors import SettingsError
from tickloom.toml_file import read_tables

POLL_S_MIN = 0.05
POLL_S_MAX = 86_400.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where stories come from.

    Attributes
    ----------
    url : str
        Of http or https; empty where ``path`` is given.
    path : Path or None
        A file on this machine.
    stream : bool
        Lines are taken as they come, from a connection that stays open or a file that grows.
    """

    name: str
    url: str
    path: Path | None
    kind: str
    poll_s: float
    stream: bool

    @property
    def is_local(self) -> bool:
        """Whether its server is this machine: no proxy is asked."""
        return urlsplit(self.url).hostname in LOOPBACK


def load_sources(path: Path) -> list[Source]:
    """Read the sources.

    Raises
    ------
    SettingsError
        Naming the source, what is wrong with it, and what to write.
    """
    table = read_tables(path, "Mend news.sources_file or create it.")
    entries = table.get("sources", [])
    if set(table) - {"sources"} or not isinstance(entries, list) or not entries:
        raise SettingsError(
            f"{path}: write one [[sources]] or more, with name, url and kind, and nothing else"
        )
    return check_sources([_source(path, entry) for entry in entries], path)


def check_sources(sources: Sequence[Source], path: Path) -> list[Source]:
    """The sources, once no two have one name.

    Raises
    ------
    SettingsError
        Two have.
    """
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{path}: two sources {twice[0]!r}; their stories' ids would be mixed up")
    return list(sources)


def _source(path: Path, entry: Any) -> Source:
    if not isinstance(entry, dict):
        raise SettingsError(
            f"{path}: {entry!r} is no source: write [[sources]], and name, url and kind below"
        )
    name = entry.get("name", "")
    where = f"{path}: source {name!r}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingsError(f"{where}: a name has letters, digits, _ and -, 32 at most")
    unknown = sorted(set(entry) - {"name", "url", "kind", "poll_s", "stream"})
    if unknown:
        raise SettingsError(f"{where}: unknown key {unknown[0]!r}; there are name, url, kind, poll_s, stream")
    kind, stream, poll_s = entry.get("kind"), entry.get("stream", False), entry.get("poll_s", 60.0)
    if kind not in KINDS:
        raise SettingsError(f"{where}: kind {kind!r}; write one of {', '.join(KINDS)}")
    if not isinstance(stream, bool) or (stream and kind != JSON_LINES):
        raise SettingsError(f"{where}: stream is true or false, and of {JSON_LINES} alone")
    if (
        isinstance(poll_s, bool)
        or not isinstance(poll_s, int | float)
        or not POLL_S_MIN <= poll_s <= POLL_S_MAX
    ):
        raise SettingsError(f"{where}: poll_s {poll_s!r} is not from {POLL_S_MIN} to {POLL_S_MAX:.0f}")
    url, file = _place(where, entry.get("url", ""))
    return Source(name, url, file, kind, float(poll_s), stream)


def _place(where: str, url: Any) -> tuple[str, Path | None]:
    """A URL of http or https, or a file."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"{where}: url {url!r}: {error}") from None
    if parts.scheme in ("http", "https") and parts.hostname:
        return url, None
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return "", Path(unquote(parts.path))
    if not parts.scheme and parts.path:
        return "", Path(parts.path)
    raise SettingsError(f"{where}: url {url!r}; write one of http, https or file")
