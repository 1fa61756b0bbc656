"""A file on this machine in, its document or its new lines out: the counterpart of :mod:`.http`."""

from __future__ import annotations

import os

from ingest.news.http import Fetched, FetchError
from ingest.news.records import Head
from ingest.news.sources import Source

READ_BYTES = 1024 * 1024


class FileSource:
    """A file that is written anew, and read whole."""

    def __init__(self, source: Source, bytes_max: int) -> None:
        assert source.path is not None
        self._source, self._path, self._bytes_max = source, source.path, bytes_max

    def fetch(self, last: Head | None) -> Fetched | None:
        """The document; None where inode, size and time of change are what ``last`` says.

        Raises
        ------
        FetchError
            It is not there, or too large.
        """
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                etag = f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"
                if last is not None and last.etag == etag:
                    return None
                body = file.read(self._bytes_max + 1)
        except OSError as error:
            raise _error(self._source, error) from None
        if len(body) > self._bytes_max:
            raise FetchError(
                self._source.name, "too_large", f"a document of more than {self._bytes_max} bytes"
            )
        return Fetched(Head(self._source.name, self._source.kind, etag=etag), body)


class FollowedFile:
    """A file that grows by lines. It may be cut or replaced: then the new one is read from its beginning.

    Parameters
    ----------
    last : Head or None
        Of the last line that was captured: it goes on behind that, if it is still the same file.

    Attributes
    ----------
    too_long : int
        Lines of more than ``bytes_max`` bytes, which were left out.
    """

    def __init__(self, source: Source, bytes_max: int, last: Head | None) -> None:
        assert source.path is not None
        self._source, self._path, self._bytes_max = source, source.path, bytes_max
        self._inode, self._position = (last.inode, last.position) if last else (0, 0)
        self._skipping = False  # inside a line that is too long
        self.too_long = 0

    def lines(self, lines_max: int) -> list[Fetched]:
        """The next whole lines, at most so many; none where there are none yet.

        Raises
        ------
        FetchError
            The file is not there.
        """
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._inode or stat.st_size < self._position:
                    self._inode, self._position, self._skipping = stat.st_ino, 0, False
                file.seek(self._position)
                raw = file.read(max(READ_BYTES, self._bytes_max + 1))
        except OSError as error:
            raise _error(self._source, error) from None
        return self._cut(raw, lines_max)

    def _cut(self, raw: bytes, lines_max: int) -> list[Fetched]:
        found: list[Fetched] = []
        start = 0
        while len(found) < lines_max and (end := raw.find(b"\n", start)) >= 0:
            line = raw[start:end]
            start = end + 1
            if self._skipping or len(line) > self._bytes_max:
                self.too_long += not self._skipping
                self._skipping = False
            elif line.strip():
                head = Head(
                    self._source.name,
                    self._source.kind,
                    inode=self._inode,
                    position=self._position + start,
                )
                found.append(Fetched(head, line))
        if len(found) < lines_max and len(raw) - start > self._bytes_max:  # and no end of it in sight
            self.too_long += not self._skipping
            self._skipping, start = True, len(raw)
        self._position += start
        return found


def _error(source: Source, error: OSError) -> FetchError:
    return FetchError(source.name, "file", f"{source.path}: {error.strerror}")
