"""IEX-TP over UDP in, a capture out, and its sinks kept going: the IEX ingester's shell.

Which copy of a message goes on, and where the venue began its numbers anew, the decoder sees by the capture;
all else is the session that feeds on several lines share (:mod:`ingest.udp.session`).
"""

from __future__ import annotations

import threading

from ingest.iex.lines import IexFeed, IexLines
from ingest.pipeline import SinksFactory
from ingest.udp.session import follow
from ingest.warm import warm_up_feed, warm_up_lines, warm_up_shared
from tickloom.clock import Clock, SystemClock
from tickloom.instruments import Registry
from tickloom.settings import IexSettings


def run(
    settings: IexSettings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture and publish days of DEEP or TOPS until ``stop`` is set.

    Raises
    ------
    SetupError
        A port cannot be opened, or a group not be joined.
    CaptureError
        The disk refuses. What was captured is published first.
    """
    registry = Registry.load()
    warm_up_shared()
    warm_up_feed("iex", registry)
    warm_up_lines(IexLines())
    follow(IexFeed(settings, registry), sinks_factory, stop, clock or SystemClock())
