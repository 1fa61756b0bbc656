"""MDP 3.0 over UDP in, a capture out, and its sinks kept going: the shell of a CME channel's ingester.

What comes on the incremental feed's lines, and what of the recovery feeds is needed, is captured; the decoder
makes books of it. All else is the session that feeds on several lines share (:mod:`ingest.udp.session`).
"""

from __future__ import annotations

import threading

from ingest.pipeline import SinksFactory
from ingest.sbe.mdp3.lines import Mdp3Feed, Mdp3Lines
from ingest.udp.session import follow
from ingest.warm import warm_up_feed, warm_up_lines, warm_up_shared
from tickloom.clock import Clock, SystemClock
from tickloom.instruments import Registry
from tickloom.settings import Mdp3Settings


def run(
    settings: Mdp3Settings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture and publish weeks of one channel until ``stop`` is set.

    Raises
    ------
    SetupError
        A port cannot be opened, or a group not be joined.
    CaptureError
        The disk refuses. What was captured is published first.
    """
    registry = Registry.load()
    warm_up_shared()
    warm_up_feed("mdp3", registry)
    warm_up_lines(Mdp3Lines())
    follow(Mdp3Feed(settings, registry), sinks_factory, stop, clock or SystemClock())
