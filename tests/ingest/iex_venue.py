"""An exchange that speaks DEEP over IEX-TP, for tests: segments with right numbers, offsets and times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ingest.capture import CaptureBatch
from ingest.iex.decoder import IexDecoder
from ingest.iex.iextp import DEEP_1_0, pack
from ingest.iex.messages import LAYOUTS
from tickloom.events import EventBlock

SESSION = "20170425.DEEP10"
BASE = 170425 * 10**10
#: New York's midnight of 2017-04-25 (summer, four hours behind) in ns since 1970: 17,281 days and 4 hours.
MIDNIGHT = (17_281 * 86_400 + 4 * 3_600) * 10**9
MS = 10**6

Record = tuple[int, int, bytes]


class Venue:
    """Sends messages; each segment a millisecond of send time after the one before it."""

    def __init__(self, protocol: int = DEEP_1_0) -> None:
        self.now = MIDNIGHT + 10 * 3_600 * 10**9
        self.sequence, self.offset, self.session, self.protocol = 1, 0, 77, protocol

    def message(self, letter: str, **values: Any) -> bytes:
        """A message of now, of ALFA where it says nothing else."""
        if letter != "S":
            values = {"symbol": "ALFA", **values}
        return LAYOUTS[letter].pack(**{"timestamp": self.now, **values})

    def level(self, letter: str, price: int, size: int, flags: int = 1, symbol: str = "ALFA") -> bytes:
        return self.message(letter, price=price, size=size, flags=flags, symbol=symbol)

    def trade(self, trade_id: int, **values: Any) -> bytes:
        return self.message("T", **{"price": 10_000, "size": 100, "trade_id": trade_id, **values})

    def send(self, *messages: bytes) -> Record:
        """A segment as a capture's record, received when it was sent; without messages a heartbeat."""
        self.now += MS
        raw = pack(messages, self.sequence, self.now, self.offset, self.session, self.protocol)
        self.sequence += len(messages)
        self.offset += len(raw) - 40
        return (0, self.now, raw)

    def restart(self, session: int | None = None, silence_ms: int = 5_000) -> None:
        self.now += silence_ms * MS
        self.sequence, self.offset = 1, 0
        self.session = self.session if session is None else session


def decode(
    records: Sequence[Record], decoder: IexDecoder | None = None, session: str = SESSION
) -> tuple[IexDecoder, EventBlock]:
    decoder = decoder or IexDecoder("IEXG", session)
    return decoder, decoder.decode(CaptureBatch.of(records))


def rows(block: EventBlock, table: str, *fields: str) -> list[tuple[Any, ...]]:
    found = []
    for record in block.kinds()[table]:
        names = {"symbol": block.symbols.names[record["symbol"]]}
        found.append(tuple(names.get(field, record[field].item()) for field in fields))
    return found
