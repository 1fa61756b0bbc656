"""Both venues of a synthetic session at once: stocks over MoldUDP64, coins over a local websocket server.

The stocks wait a little for the coins' client, so that the two venues run side by side on one clock.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog

from ingest.synthetic.coins import SyntheticLines, coin_truth
from ingest.synthetic.datagrams import SESSION_NAME, Faults
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import Session, SessionTruth, make_session
from ingest.synthetic.moldudp64_sender import MoldSender
from ingest.synthetic.parameters import MarketParameters
from ingest.udp.sockets import line_addresses
from ingest.websocket.replay import VenueLine
from ingest.websocket.server import VenueThread
from tickloom.settings import ItchSettings, SyntheticSettings

CLIENT_WAIT_S = 15.0  # for the coins' client, before the stocks begin without it
_POLL_S = 0.05

log = structlog.get_logger("synthetic")


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Chance of a datagram to meet each fault; see :class:`ingest.synthetic.datagrams.Faults`."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    garbage: float = 0.0
    truncate: float = 0.0


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """What to play, and how.

    Attributes
    ----------
    speed : float
        Market seconds a real second; 0: no pacing.
    stocks, coins : bool
        Which venues.
    linger_s : float
        After the end, requests and reconnects are answered so long; 0: until told to stop.
    truth_path : Path, optional
        Where the truth about the session goes, before it begins.
    session : str
        Name of the MoldUDP64 session, at most ten characters.
    """

    speed: float
    stocks: bool = True
    coins: bool = True
    linger_s: float = 0.0
    truth_path: Path | None = None
    session: str = SESSION_NAME
    faults: FaultRates = field(default_factory=FaultRates)


def play(
    parameters: MarketParameters,
    options: PlayOptions,
    itch: ItchSettings,
    synthetic: SyntheticSettings,
    stop: threading.Event,
) -> SessionTruth:
    """Generate a session, play it, and return when it has ended and lingered, or ``stop`` is set.

    Raises
    ------
    SetupError
        A port is taken.
    """
    session = make_session(parameters)
    lines = _Watched(SyntheticLines(parameters)) if options.coins else None
    if lines is not None:
        session.truth.coins = coin_truth(lines.source)
    if options.truth_path is not None:
        session.truth.save(options.truth_path)
    with contextlib.ExitStack() as open_feeds:
        sender = None
        if options.stocks:
            sender = _sender(session, options, itch)
            open_feeds.callback(sender.stop)
        venue = None
        if lines is not None:
            venue = open_feeds.enter_context(
                VenueThread(
                    lines,
                    speed=options.speed,
                    websocket_port=synthetic.websocket_port,
                    rest_port=synthetic.rest_port,
                    registry=parameters.registry,
                )
            )
        log.info(
            "synthetic session is ready",
            seed=parameters.seed,
            session_date=parameters.session_date.isoformat(),
            itch_messages=session.truth.messages_total if sender else 0,
            coin_lines=len(lines.source) if lines else 0,
            speed=options.speed,
        )
        _run(sender, venue, lines, options, stop)
    return session.truth


class _Watched:
    """A line source that says when a client has come: its lines are first asked for then."""

    def __init__(self, source: SyntheticLines) -> None:
        self.source = source
        self.venue = source.venue
        self.client_came = threading.Event()

    def lines(self) -> Iterator[VenueLine]:
        self.client_came.set()
        yield from self.source.lines()


def _sender(session: Session, options: PlayOptions, itch: ItchSettings) -> MoldSender:
    targets = [(line.group or line.interface, line.port) for line in line_addresses(itch)]
    sender = MoldSender(
        itch_stream(session),
        *targets[0],
        rerequest_host=itch.rerequest_host,
        rerequest_port=itch.rerequest_port,
        speed=options.speed,
        session=options.session,
        other_lines=targets[1:],
    )
    rates = asdict(options.faults)
    for number, line in enumerate(sender.lines):  # each line has faults of its own
        line.faults = Faults.seeded(session.parameters.seed + number, len(sender.packing), **rates)
    return sender


def _run(
    sender: MoldSender | None,
    venue: VenueThread | None,
    lines: _Watched | None,
    options: PlayOptions,
    stop: threading.Event,
) -> None:
    if sender is not None:
        if lines is not None and not _wait(lines.client_came.is_set, stop, CLIENT_WAIT_S):
            log.warning("no client for the coins yet; the stocks begin without them")
        if stop.is_set():
            return
        sender.start()
        log.info("the stocks have begun")
        _wait(lambda: sender.wait(0.0), stop)
        log.info("the stocks have ended", messages=sender.sent_messages, **sender.counters)
    if venue is not None and lines is not None and (sender is None or lines.client_came.is_set()):
        _wait(lambda: venue.wait_ended(0.0), stop)
        log.info("the coins have ended", lines=len(lines.source))
    stop.wait(options.linger_s or None)


def _wait(done: Callable[[], bool], stop: threading.Event, timeout_s: float = float("inf")) -> bool:
    """Wait until ``done``; False where ``stop`` or the time came first."""
    waited_s = 0.0
    while not done():
        if waited_s >= timeout_s or stop.wait(_POLL_S):
            return False
        waited_s += _POLL_S
    return True
