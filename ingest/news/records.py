"""What the records of a news capture hold. Pure.

A DATA record is a line of JSON (:class:`Head`), a newline, and the document or line as it came. A CONTROL
record is JSON with an ``event``:

======== ==========================================================================================
open     An ingester started: the window of duplicates from here on.
known    Keys that the session before had seen: the first records of a session.
same     A source was asked, and has what it had (HTTP 304, or the same bytes).
failed   A source could not be read: why.
scored   What the model said of stories, by their keys: they are events now.
======== ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from tickloom.errors import DecodeError

KNOWN_KEYS_MAX = 10_000  # of a record
_Score = Annotated[float, msgspec.Meta(ge=-1, le=1)]
_Words = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class Head(msgspec.Struct, omit_defaults=True):
    """Where a document came from, and what HTTP said of it; of a followed file, where the line ended in
    which."""

    source: str
    kind: str
    charset: str = ""
    etag: str = ""
    modified: str = ""
    inode: int = 0
    position: int = 0


class Open(msgspec.Struct, tag="open", tag_field="event"):
    """Limits of the window of duplicates (``ingest.news.seen``)."""

    window_s: int
    keys_max: int


class Known(msgspec.Struct, tag="known", tag_field="event"):
    """Keys and when they were last seen, ns."""

    keys: list[tuple[str, int]]


class Same(msgspec.Struct, tag="same", tag_field="event"):
    """The source has what it had."""

    source: str


class Failed(msgspec.Struct, tag="failed", tag_field="event"):
    """The source could not be read."""

    source: str
    reason: str
    detail: str = ""


class Scored(msgspec.Struct, tag="scored", tag_field="event"):
    """model: name/version. scores: key of a story, score (None: it gave none), words."""

    model: str
    scores: list[tuple[str, _Score | None, _Words]]


Control = Open | Known | Same | Failed | Scored

_head_decoder = msgspec.json.Decoder(Head)
_control_decoder = msgspec.json.Decoder(Control)


def pack_document(head: Head, body: bytes) -> bytes:
    """Payload of a DATA record."""
    return msgspec.json.encode(head) + b"\n" + body


def read_document(payload: bytes) -> tuple[Head, bytes]:
    """Head and body of a DATA record.

    Raises
    ------
    DecodeError
        It is none.
    """
    head, newline, body = payload.partition(b"\n")
    try:
        if not newline:
            raise ValueError("no head")
        return _head_decoder.decode(head), body
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise DecodeError("news", f"no document: {error}") from None


def pack_control(control: Control) -> bytes:
    """Payload of a CONTROL record."""
    return msgspec.json.encode(control)


def read_control(payload: bytes) -> Control:
    """What a CONTROL record says.

    Raises
    ------
    DecodeError
        Nothing that is known here.
    """
    try:
        said: Control = _control_decoder.decode(payload)
    except (ValueError, RecursionError) as error:
        raise DecodeError("news", f"no control record: {error}") from None
    return said


def known_records(keys: Sequence[tuple[str, int]]) -> list[bytes]:
    """Payloads of the CONTROL records that say so many keys."""
    return [
        pack_control(Known(list(keys[start : start + KNOWN_KEYS_MAX])))
        for start in range(0, len(keys), KNOWN_KEYS_MAX)
    ]
