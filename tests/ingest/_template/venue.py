"""The template's venue on loopback: it does what a script says for each client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, Self

from ingest._template.messages import END, HEARTBEAT, QUOTE, TRADE, pack, requested

DAY = "2026-11-20"
MIDNIGHT_NS = 1_795_132_800 * 10**9  # of that day, UTC
OPEN_NS = MIDNIGHT_NS + 10 * 3_600 * 10**9
Script = Callable[[socket.socket, int], None]


def quote(sequence: int, symbol: bytes = b"ALFA", **values: int) -> bytes:
    fields: dict[str, Any] = {
        "bid_price": 10_000,
        "bid_size": 1,
        "ask_price": 10_100,
        "ask_size": 2,
        **values,
    }
    return pack(QUOTE, sequence=sequence, ts=OPEN_NS + sequence, symbol=symbol, **fields)


def trade(sequence: int, symbol: bytes = b"ALFA", **values: int) -> bytes:
    fields: dict[str, Any] = {"price": 10_100, "size": 3, "side": ord("B"), "trade_id": sequence, **values}
    return pack(TRADE, sequence=sequence, ts=OPEN_NS + sequence, symbol=symbol, **fields)


def heartbeat(sequence: int) -> bytes:
    return pack(HEARTBEAT, sequence=sequence, ts=OPEN_NS + sequence)


def end(sequence: int) -> bytes:
    return pack(END, sequence=sequence, ts=OPEN_NS + sequence)


class LocalVenue:
    """Runs ``script(connection, number asked for)`` for each client, one after the other.

    Attributes
    ----------
    asked : list of int
        The number that each client has asked for.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[int] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._listening.close()
        self._thread.join(20)

    def _serve(self) -> None:
        self._listening.settimeout(0.05)
        while not self._done.is_set():
            try:
                client, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with client:
                client.settimeout(20)
                self.asked.append(requested(client.recv(8, socket.MSG_WAITALL)))
                self._script(client, len(self.asked))
