"""Kraken's sockets in, capture records out: :mod:`ingest.websocket.session` with this venue's words."""

from __future__ import annotations

import threading

from ingest.pipeline import SinksFactory
from ingest.websocket.kraken.protocol import KrakenV1, KrakenV2
from ingest.websocket.session import run_stream
from tickloom.clock import Clock
from tickloom.settings import KrakenSettings


def run(
    settings: KrakenSettings, sinks_factory: SinksFactory, stop: threading.Event, clock: Clock | None = None
) -> None:
    """Capture a session and feed the sinks until ``stop`` is set (see ``run_stream``)."""
    protocol = KrakenV2() if settings.api_version == 2 else KrakenV1()
    run_stream(settings, protocol, sinks_factory, stop, clock)
