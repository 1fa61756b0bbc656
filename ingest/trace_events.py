"""A range of ``seq`` in, the events that a capture gives for it out: for when no database can be asked.

A decoder has state (the order books), so the session is decoded from its first record; that is refused where
it would take minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ingest.capture import CaptureReader, segments, session_path
from ingest.feeds import decoder_for
from tickloom.errors import CaptureError
from tickloom.events import CONDITION_TEXTS, GAP_TEXTS, SIDE_TEXTS, STATUS_TEXTS, EventBlock
from tickloom.prices import NO_PRICE, format_nanos

_HEAD = frozenset({"ts_event", "ts_recv", "seq", "symbol"})
CAPTURE_BYTES_MAX = 512 * 1024 * 1024  # a few seconds of decoding; a busy venue's whole day has tens of GB


def read_range(
    data_dir: Path, venue: str, session: str, symbols: Sequence[str], first_seq: int, last_seq: int
) -> Iterator[EventBlock]:
    """Events of the symbols with first_seq <= seq <= last_seq, as they were decoded.

    Raises
    ------
    CaptureError
        There is no capture, or it is too large to be decoded again for a question.
    """
    path = session_path(data_dir, venue, session)
    files = segments(path)
    size = sum(file.stat().st_size for file in files)
    if not files or size > CAPTURE_BYTES_MAX:
        why = "is not there" if not files else f"has {size >> 20} MB, too much to decode for a question"
        raise CaptureError(f"the capture {path} {why}; start QuestDB and ask again")
    decoder = decoder_for(venue, session)
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            block = decoder.decode(batch)
            names = block.symbols.names
            wanted = np.array([index for index, name in enumerate(names) if name in symbols], dtype=np.int64)
            keep = {}
            for kind, records in block.kinds().items():
                inside = (records["seq"] >= first_seq) & (records["seq"] <= last_seq)
                keep[kind] = inside & np.isin(records["symbol"], wanted)
            found = block.select(keep)
            if len(found):
                yield found
            if decoder.last_seq > last_seq and not len(found):
                return


def values_of(table: str, record: np.void) -> dict[str, str]:
    """A record's own columns as text, as they would stand in the database."""
    values: dict[str, str] = {}
    for name in record.dtype.names or ():
        value = record[name]
        if name in _HEAD:
            continue
        if name.endswith("price") or name.endswith("size"):
            values[name] = "" if value == NO_PRICE else format_nanos(int(value))
        elif name == "side":
            values[name] = SIDE_TEXTS[value]
        elif name == "condition":
            values[name] = CONDITION_TEXTS[value]
        elif name == "status":
            values[name] = STATUS_TEXTS[value]
        elif name == "reason":
            values[name] = GAP_TEXTS[value] if table == "gaps" else value.decode("ascii", "replace")
        else:
            values[name] = str(value)
    return values
