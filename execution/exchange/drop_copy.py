"""A copy of every execution, bust and correction of all clients, as a SoupBinTCP stream.

A message is the report as the exchange's own protocol writes it (a JSON object with FIX's names) with
the client in ``PartyID``. The stream is part of the record: whoever was away asks for what it missed.
"""

from __future__ import annotations

import msgspec

from execution.exchange.orders import Outcome
from execution.exchange.record import ExchangeRecord
from execution.exchange.server import ExchangeServer
from execution.exchange.soup_server import SoupBinServer, SoupSession
from execution.venues import Report, ReportType
from execution.venues.simulated import protocol
from tickloom.clock import Clock
from tickloom.errors import DecodeError

STREAM = "drop-copy"
_COPIED = frozenset({ReportType.TRADE, ReportType.TRADE_CANCELLED, ReportType.TRADE_CORRECTED})


class DropCopy:
    """See the module. It listens once it is started; it writes its stream from the beginning."""

    def __init__(
        self, server: ExchangeServer, record: ExchangeRecord, clock: Clock, password: str = ""
    ) -> None:
        self._soup = SoupBinServer(
            "exchange.drop_copy_port",
            record,
            clock,
            client_of=lambda user: f"drop-copy:{user}",
            stream_of=lambda user: STREAM,
            on_message=_ignore,
            password=password,
        )
        server.watch(self._on_outcome, self._streamed)

    async def start(self, host: str, port: int) -> int:
        return await self._soup.start(host, port)

    async def close(self) -> None:
        await self._soup.close()

    def _streamed(self, client: str, report: Report) -> list[tuple[str, bytes]]:
        if report.report_type not in _COPIED:
            return []
        line = protocol.encode(report).rstrip()
        return [(STREAM, b'{"PartyID":' + msgspec.json.encode(client) + b"," + line[1:])]

    def _on_outcome(self, outcome: Outcome, streamed: list[tuple[str, bytes]]) -> None:
        for stream, payload in streamed:
            if stream == STREAM:
                self._soup.send(stream, payload)


def decode(payload: bytes) -> tuple[str, Report]:
    """A message of the drop copy: client and report.

    Raises
    ------
    DecodeError
        It is none.
    """
    report = protocol.decode(payload)
    fields = msgspec.json.decode(payload, type=dict[str, str])
    if not isinstance(report, Report) or "PartyID" not in fields:
        raise DecodeError("drop copy", f"no report of a client: {payload[:120]!r}")
    return fields["PartyID"], report


def _ignore(session: SoupSession, payload: bytes) -> None:
    """A drop copy takes no requests."""
