"""The head of a DBN file in, which symbol an instrument id stands for out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime

from databento_dbn import DBNError, Metadata

from ingest.dbn.records import MAGIC, PREFIX_BYTES, VERSIONS
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError

METADATA_BYTES_MAX = 1 << 26  # a month of all US stocks has 20 MB; a capture's record takes no more
FOREVER_NS = 2**63 - 1
_PANICS = (
    "pyo3_runtime"  # of the package's compiled part, which gives up where a length cannot be: no Exception
)
#: Venue of a dataset's first part, where the registry has it by another code.
_VENUES = {"GLBX": "XCME"}


@dataclass(frozen=True, slots=True)
class Interval:
    """``symbol`` from ``begin_ns`` up to, not including, ``end_ns``; UTC."""

    begin_ns: int
    end_ns: int
    symbol: str


class Head:
    """What the metadata says.

    Attributes
    ----------
    version : int
        Of the records, 1 to 3.
    dataset, schema : str
        Such as ``GLBX.MDP3`` and ``mbp-1``; schema ``mixed`` where the stream may have several.
    intervals : dict of int to list of Interval
        By instrument id.

    Raises
    ------
    DecodeError
        The bytes are no metadata, or of a version that is not read here.
    """

    def __init__(self, raw: bytes) -> None:
        metadata_bytes(raw[:PREFIX_BYTES])
        try:
            found = Metadata.decode(raw)
            mappings = found.mappings  # made on asking: only here is a day seen that no calendar has
        except (DBNError, ValueError) as error:
            raise DecodeError("DBN", f"the metadata cannot be read: {error}") from None
        except BaseException as error:
            if type(error).__module__ != _PANICS:
                raise
            raise DecodeError("DBN", f"the metadata cannot be read: {error}") from None
        self.version = raw[3]
        self.dataset: str = found.dataset
        self.schema = str(found.schema or "mixed")
        self.intervals: dict[int, list[Interval]] = defaultdict(list)
        for symbol, spans in mappings.items():
            for span in spans:
                number = str(span["symbol"])
                if number.isascii() and number.isdigit():
                    interval = Interval(_ns(span["start_date"]), _ns(span["end_date"]), symbol)
                    self.intervals[int(number)].append(interval)

    def interval(self, instrument_id: int, ts_ns: int) -> Interval | None:
        """Whose name the id has at that time; None where nothing says so."""
        for found in self.intervals.get(instrument_id, ()):
            if found.begin_ns <= ts_ns < found.end_ns:
                return found
        return None


def dataset_venue(dataset: str) -> str:
    """Code of the venue that a dataset such as ``XNAS.ITCH`` is of."""
    code = dataset.partition(".")[0]
    return _VENUES.get(code, code)


def metadata_bytes(prefix: bytes) -> int:
    """Bytes of the metadata with its prefix, of which the first eight are given.

    Raises
    ------
    DecodeError
        Not DBN, or not of a version that is read here.
    """
    if len(prefix) < PREFIX_BYTES or prefix[:3] != MAGIC:
        raise DecodeError("DBN", "no DBN: the first three bytes are not 'DBN'", 0)
    if prefix[3] not in VERSIONS:
        raise DecodeError("DBN", f"version {prefix[3]} is not read here; those are {VERSIONS}", 3)
    size = PREFIX_BYTES + int.from_bytes(prefix[4:PREFIX_BYTES], "little")
    if size > METADATA_BYTES_MAX:
        raise DecodeError("DBN", f"metadata of {size:,} bytes is damage; at most {METADATA_BYTES_MAX:,}", 4)
    return size


def _ns(day: date) -> int:
    """Midnight; a day that 64 bits do not reach is the last one that they do."""
    found = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S
    return max(-FOREVER_NS, min(found, FOREVER_NS))
