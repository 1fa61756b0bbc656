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
Rate = Annotated[float, typer.Option(min=0.0, max=1.0, help="Chance of a datagram to meet this fault.")]
Stats = Annotated[Path | None, typer.Option(help="Write the truth about the session here, as JSON.")]


@app.command()
def play(
    seed: Seed = None,
    duration_s: Duration = None,
    speed: Annotated[float | None, typer.Option(help="Market seconds a real second; 0: no pacing.")] = None,
    intensity: Intensity = 1.0,
    session_date: SessionDate = "",
    stocks: Annotated[bool, typer.Option(help="Play the stocks: ITCH 5.0 in MoldUDP64.")] = True,
    coins: Annotated[bool, typer.Option(help="Play the coins: Binance-format websocket and REST.")] = True,
    stats: Stats = None,
    linger_s: Annotated[
        float, typer.Option(help="Answer re-requests so long after the end; 0: until SIGTERM.")
    ] = 0.0,
    session: Annotated[str, typer.Option(help="MoldUDP64 session, up to ten characters.")] = "TLSYN00001",
    drop: Rate = 0.0,
    duplicate: Rate = 0.0,
    reorder: Rate = 0.0,
    corrupt: Rate = 0.0,
    garbage: Rate = 0.0,
    truncate: Rate = 0.0,
) -> None:
    """Play a session over sockets, at the addresses that the settings itch and synthetic name."""
    from ingest.synthetic import player
    from tickloom.telemetry import configure_logging

    configure_logging("synthetic")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = SyntheticSettings.load()
    options = player.PlayOptions(
        speed=settings.speed if speed is None else speed,
        stocks=stocks,
        coins=coins,
        linger_s=linger_s,
        truth_path=stats,
        session=session,
        faults=player.FaultRates(drop, duplicate, reorder, corrupt, garbage, truncate),
    )
    parameters = _parameters(seed, duration_s, intensity, session_date)
    player.play(parameters, options, ItchSettings.load(), settings, stop)


@app.command()
def write(
    itch_file: Annotated[Path | None, typer.Option("--itch", help="ITCH 5.0 messages go here.")] = None,
    coins_dir: Annotated[
        Path | None, typer.Option("--coins", help="Recordings of the coins' lines go into this directory.")
    ] = None,
    seed: Seed = None,
    duration_s: Duration = None,
    intensity: Intensity = 1.0,
    session_date: SessionDate = "",
    stats: Stats = None,
) -> None:
    """Write a session to files: ITCH messages behind 2-byte lengths, Binance lines, the truth as JSON."""
    from ingest.synthetic.coins import SyntheticLines, coin_truth
    from ingest.synthetic.itch_stream import itch_stream
    from ingest.synthetic.market import make_session

    parameters = _parameters(seed, duration_s, intensity, session_date)
    session = make_session(parameters)
    if itch_file is not None:
        size = itch_stream(session).write(itch_file)
        print(f"{itch_file}: {session.truth.messages_total} synthetic ITCH 5.0 messages, {size} bytes")
    if coins_dir is not None:
        lines = SyntheticLines(parameters)
        session.truth.coins = coin_truth(lines)
        for path in lines.write(coins_dir):
            print(f"{path}: synthetic lines in Binance's format")
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
