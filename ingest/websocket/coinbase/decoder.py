"""A capture of Coinbase in, events out: :mod:`ingest.websocket.decoder` with this venue's wire."""

from __future__ import annotations

from ingest.websocket.coinbase.layout import WIRE
from ingest.websocket.decoder import StreamDecoder
from tickloom.instruments import Registry


class CoinbaseDecoder(StreamDecoder):
    """Decoder of one venue and session; parameters as of ``StreamDecoder``."""

    def __init__(
        self,
        venue: str,
        session: str,
        *,
        registry: Registry | None = None,
        lateness_ns: int = 0,
        books: bool = True,
    ) -> None:
        super().__init__(venue, session, WIRE, registry=registry, lateness_ns=lateness_ns, books=books)
