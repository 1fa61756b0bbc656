"""Coinbase's sockets in, capture records out: :mod:`ingest.websocket.session` with this venue's words."""

from __future__ import annotations

import threading

from ingest.pipeline import SinksFactory
from ingest.websocket.coinbase.protocol import CoinbaseProtocol
from ingest.websocket.session import run_stream
from tickloom.clock import Clock
from tickloom.settings import CoinbaseSettings


def run(
    settings: CoinbaseSettings, sinks_factory: SinksFactory, stop: threading.Event, clock: Clock | None = None
) -> None:
    """Capture a session and feed the sinks until ``stop`` is set (see ``run_stream``)."""
    run_stream(settings, CoinbaseProtocol(), sinks_factory, stop, clock)
