"""``tickloom synthetic``: play a seeded market session over sockets, or write it to files.

All of it is synthetic: no such companies are listed, and no such trades took place.
"""

from __future__ import annotations

import signal
import threading
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickloom.clock import NS_PER_DAY, SystemClock
from tickloom.errors import SettingsError
from tickloom.settings import ItchSettings, SyntheticSettings

if TYPE_CHECKING:
    from ingest.synthetic.market import MarketParameters

app = typer.Typer(
    help="Seeded synthetic market sessions in genuine wire formats.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Seed = Annotated[int | None, typer.Option(help="The same seed gives the same bytes. Default: settings.")]
Duration = Annotated[float | None, typer.Option(help="Market seconds. Default: settings.")]
Intensity = Annotated[float, typer.Option(help="1 is about 1,500 ITCH messages a market second.")]
SessionDate = Annotated[
    str, typer.Option(help="Trading day, YYYY-MM-DD. Default: itch.session_date, else today, UTC.")
]
Stats = Annotated[Path | None, typer.Option(help="Write the truth about the session here, as JSON.")]


@app.command()
def play(
    seed: Seed = None,
    duration_s: Duration = None,
    speed: Annotated[float | None, typer.Option(help="Market seconds a real second; 0: no pacing.")] = None,
    intensity: Intensity = 1.0,
    session_date: SessionDate = "",
    stats: Stats = None,
    linger_s: Annotated[
        float, typer.Option(help="Answer re-requests so long after the end; 0: until SIGTERM.")
    ] = 0.0,
) -> None:
    """Play a session: ITCH 5.0 in MoldUDP64 over UDP, with a re-request server."""
    from ingest.synthetic.itch_stream import itch_stream
    from ingest.synthetic.market import make_session
    from ingest.synthetic.moldudp64_sender import MoldSender
    from tickloom.telemetry import configure_logging

    log = configure_logging("synthetic")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    settings, itch = SyntheticSettings.load(), ItchSettings.load()
    parameters = _parameters(seed, duration_s, intensity, session_date)
    session = make_session(parameters)
    if stats is not None:
        session.truth.save(stats)
    sender = MoldSender(
        itch_stream(session),
        itch.multicast_group or itch.host,
        itch.port,
        rerequest_host=itch.rerequest_host,
        rerequest_port=itch.rerequest_port,
        speed=settings.speed if speed is None else speed,
    )
    log.info(
        "playing a synthetic session", seed=parameters.seed, messages=session.truth.messages_total,
        session_date=parameters.session_date.isoformat(), to=f"{itch.host}:{itch.port}",
    )  # fmt: skip
    sender.start()
    try:
        while not stopping.is_set() and not sender.wait(0.1):
            pass
        log.info("the session has ended", messages=sender.sent_messages, **dict(sender.counters))
        stopping.wait(linger_s or None)
    finally:
        sender.stop()


@app.command()
def write(
    itch_file: Annotated[
        Path | None, typer.Option("--itch", help="ITCH 5.0 messages go here.")
    ] = None,
    seed: Seed = None,
    duration_s: Duration = None,
    intensity: Intensity = 1.0,
    session_date: SessionDate = "",
    stats: Stats = None,
) -> None:
    """Write a session to files: ITCH messages behind 2-byte lengths, the truth about it as JSON."""
    from ingest.synthetic.itch_stream import itch_stream
    from ingest.synthetic.market import make_session

    session = make_session(_parameters(seed, duration_s, intensity, session_date))
    if itch_file is not None:
        size = itch_stream(session).write(itch_file)
        print(f"{itch_file}: {session.truth.messages_total} synthetic ITCH 5.0 messages, {size} bytes")
    if stats is not None:
        session.truth.save(stats)
        print(f"{stats}: the truth about the session")


def _parameters(
    seed: int | None, duration_s: float | None, intensity: float, session_date: str
) -> MarketParameters:
    from ingest.synthetic.parameters import MarketParameters

    settings = SyntheticSettings.load()
    text = session_date or ItchSettings.load().session_date
    try:
        day = date.fromisoformat(text) if text else _today()
        return MarketParameters(
            seed=settings.seed if seed is None else seed,
            duration_s=settings.duration_s if duration_s is None else duration_s,
            intensity=intensity,
            session_date=day,
        )
    except ValueError as error:
        raise SettingsError(f"synthetic session: {error}. Mend that option or setting.") from None


def _today() -> date:
    return date.fromordinal(date(1970, 1, 1).toordinal() + SystemClock().now_ns() // NS_PER_DAY)
