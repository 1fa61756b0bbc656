"""One message of Kraken in, one checked message out: which of the two readings of the wire it is for.

v1 (:mod:`.messages_v1`) has arrays, and objects with an ``event``; v2 (:mod:`.messages_v2`) all other
objects. So a capture need not say which it is of, and may have both, one connection after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest.websocket.kraken.messages_v1 import V1Reader
from ingest.websocket.kraken.messages_v2 import V2Reader
from ingest.websocket.kraken.symbols import aliases
from ingest.websocket.message import Message
from ingest.websocket.reading import NO_JSON, malformed


class Head(msgspec.Struct, frozen=True):
    """What tells the two apart."""

    event: str = ""


_head = msgspec.json.Decoder(Head)


class KrakenReader:
    """Reads one message of either version. ``symbols``: the registry's names, in the order of the session."""

    def __init__(self, symbols: Sequence[str]) -> None:
        others = aliases(symbols)
        self._v1, self._v2 = V1Reader(symbols, others), V2Reader(symbols, others)

    def read(self, payload: bytes) -> Message:
        """Never raises: what cannot be used says so in its kind."""
        if payload.lstrip()[:1] != b"{":
            return self._v1.read(payload)
        try:
            head = _head.decode(payload)
        except NO_JSON as error:
            return malformed(error)
        return self._v1.read(payload) if head.event else self._v2.read(payload)
