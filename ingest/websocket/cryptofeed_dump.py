"""A raw dump of cryptofeed in, what a venue sent and when out.

The format, as cryptofeed's ``sample_data`` has it: gzip, a file a connection, named ``VENUE.ws.N.0.gz``.
Lines ``<seconds>: <message>`` were received; ``<address> <- <seconds>: <message>`` were sent; the first
line names the address. Sent lines and REST files (``VENUE.http...``, ``VENUE.0.gz``) are not played.
"""

from __future__ import annotations

import gzip
import heapq
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from ingest.websocket.replay import VenueLine
from tickloom.errors import DecodeError, SettingsError

_RECEIVED = re.compile(rb"(\d{10})(\.\d{1,9})?: ")


class CryptofeedDump:
    """All connections of a venue, as one session in order of receive time.

    Parameters
    ----------
    directory : Path
        Where the files are.
    venue : str
        As the registry of instruments has it, which is how cryptofeed names its files.

    Raises
    ------
    SettingsError
        There is no such file.
    """

    def __init__(self, directory: Path, venue: str) -> None:
        self.venue = venue
        self._paths = sorted(directory.glob(f"{venue}.ws.*.gz"))
        if not self._paths:
            raise SettingsError(
                f"{directory} has no {venue}.ws.N.0.gz; give the directory of a cryptofeed dump"
            )

    def lines(self) -> Iterator[VenueLine]:
        """From the first on, ``recv_ns`` never falling.

        Raises
        ------
        DecodeError
            A file that cannot be read.
        """
        return heapq.merge(*map(_connection, self._paths), key=lambda line: line.recv_ns)


def _connection(path: Path) -> Iterator[VenueLine]:
    number, latest_ns = 1, 0
    try:
        with gzip.open(path) as lines:
            for line in lines:
                found = _RECEIVED.match(line)
                if found:
                    part = (found[2] or b".0")[1:]
                    latest_ns = max(latest_ns, int(found[1]) * 10**9 + int(part.ljust(9, b"0")))
                    yield VenueLine(latest_ns, line[found.end() :].rstrip(b"\r\n"))
                number += 1
    except (OSError, EOFError, zlib.error) as error:
        raise DecodeError(path.name, f"line {number} cannot be read ({error}); get the file anew") from error
