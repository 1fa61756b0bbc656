"""``tickloom capture``: what was captured, whether it is sound, packing it, playing it again."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickloom.errors import SettingsError
from tickloom.settings import (
    IngestSettings,
    ItchSettings,
    LineSettings,
    NewsSettings,
    StackSettings,
    SyntheticSettings,
)

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(
    help="What came off the wire, byte for byte: list, verify, pack and replay it.", no_args_is_help=True
)

Session = Annotated[str, typer.Argument(help="Session as its directory is called; empty: the latest.")]
Venue = Annotated[str, typer.Option(help="Venue as in strategies/instruments.toml.")]
DataDir = Annotated[Path | None, typer.Option(help="Where captures are kept.")]
MB = 1_000_000


@app.command("list")
def list_sessions(
    venue: Annotated[str, typer.Option(help="Of this venue alone.")] = "", data_dir: DataDir = None
) -> None:
    """The captured sessions, and the place they take."""
    from rich.console import Console
    from rich.table import Table

    from ingest.capture_sessions import captured

    root = data_dir or StackSettings.load().data_dir
    table = Table()
    for name in ("venue", "session", "state"):
        table.add_column(name)
    for name in ("segments", "packed", "MB"):
        table.add_column(name, justify="right")
    total = 0
    for one in captured(root, venue):
        total += one.size_bytes
        state = "being written" if one.written else "finished"
        size = f"{one.size_bytes / MB:,.1f}"
        table.add_row(one.venue, one.session, state, str(one.segments), str(one.packed), size)
    console = Console()
    if not table.row_count:
        console.print(f"no captures {f'of {venue} ' if venue else ''}in {root / 'capture'}", soft_wrap=True)
        return
    console.print(table)
    console.print(f"{table.row_count} sessions, {total / MB:,.1f} MB")


@app.command()
def verify(
    session: Session = "",
    venue: Venue = "XNAS",
    data_dir: DataDir = None,
    events: Annotated[bool, typer.Option(help="Also decode it, and print SHA-256 of its events.")] = False,
) -> None:
    """Read a session to its end, every checksum included; exit code 1 where a byte is wrong."""
    from ingest.capture_sessions import digest
    from ingest.capture_sessions import verify as verify_session
    from ingest.feeds import decoder_for

    path = _path(data_dir, venue, session)
    with _bar("verifying") as bar:
        task = bar.add_task(path.name)
        sound = verify_session(path, lambda done, total: bar.update(task, completed=done, total=total))
    report: dict[str, Any] = {
        "venue": venue,
        "session": path.name,
        "records": sound.records,
        **{f"{kind}_records": count for kind, count in sound.kinds.items()},
        "payload_bytes": sound.payload_bytes,
        "first_received": _time(sound.first_ns),
        "last_received": _time(sound.last_ns),
        "clock_steps_back": sound.steps_back,
        "clock_step_back_ms_max": sound.step_back_ns_max / 1e6,
        "torn_bytes": sound.torn_bytes,
    }
    if events:
        report["sha256"] = digest(path, decoder_for(venue, path.name))
    print(json.dumps(report, indent=1))


@app.command()
def pack(
    session: Session = "",
    venue: Venue = "XNAS",
    data_dir: DataDir = None,
) -> None:
    """Compress the finished segments of a session, with an index; readers do not notice."""
    from ingest.capture_sessions import pack as pack_session

    path = _path(data_dir, venue, session)
    before = after = 0
    for packed in pack_session(path):
        before += packed.plain_bytes
        after += packed.packed_bytes
        print(
            f"{packed.path.name}: {packed.records:,} records, "
            f"{_saved(packed.plain_bytes, packed.packed_bytes)}"
        )
    print(f"{path.name}: {_saved(before, after)}" if before else f"{path.name}: nothing left to pack")


@app.command()
def prune(
    keep_days: Annotated[int, typer.Option(help="Sessions of days further back than this go.")],
    venue: Annotated[str, typer.Option(help="Of this venue alone.")] = "",
    data_dir: DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it they are only named.")] = False,
) -> None:
    """Remove the captures of old days, for good. What was not archived elsewhere cannot be decoded again."""
    from ingest.capture import session_path
    from ingest.capture_sessions import expired, remove

    root = data_dir or StackSettings.load().data_dir
    found = expired(root, keep_days, datetime.now(UTC).date(), venue)
    for one in found:
        if yes:
            remove(session_path(root, one.venue, one.session))
        print(f"{'removed' if yes else 'would go'}: {one.venue} {one.session}, {one.size_bytes / MB:,.1f} MB")
    if not found:
        print(f"no session is more than {keep_days} days old")
    elif not yes:
        print("nothing was removed; say --yes to remove them")


@app.command()
def replay(
    session: Session = "",
    venue: Venue = "XNAS",
    data_dir: DataDir = None,
    speed: Annotated[
        float, typer.Option(min=0, help="Session seconds a real second; 0: as fast as possible.")
    ] = 1.0,
    to: Annotated[
        str,
        typer.Option(
            help="HOST:PORT of datagrams, of each line with commas. Default: where its ingester is. Of DBN, "
            "and of Kraken, OKX, Coinbase and Bybit: the port on which to serve; default: a free one."
        ),
    ] = "",
    into_sinks: Annotated[
        bool, typer.Option("--into-sinks", help="Decode here, and write to Kafka and QuestDB; no sockets.")
    ] = False,
) -> None:
    """Play a session again: over UDP, as a local websocket venue or Databento's gateway, or straight into
    Kafka and QuestDB."""
    from ingest.feeds import FEEDS, STREAM_FEEDS, is_dbn_session
    from tickloom.instruments import Registry
    from tickloom.telemetry import configure_logging

    path = _path(data_dir, venue, session)
    known = Registry.load().venues.get(venue)
    if known is None:
        raise SettingsError(f"venue {venue!r} is not in strategies/instruments.toml; add it there")
    feed = known.feed
    kind = FEEDS[feed].settings if feed in FEEDS else None
    log = configure_logging("replay")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if into_sinks:
        _into_sinks(path, venue, NewsSettings.load() if feed == "news" else ItchSettings.load())
    elif is_dbn_session(path.name):
        from ingest.dbn.gateway import serve as serve_gateway

        _served(serve_gateway, path, venue, to, speed, stop, log)
    elif kind is not None and issubclass(kind, LineSettings):
        _over_udp(path, kind.load(), to, speed, stop)
    elif feed == "binance":
        _as_venue(path, venue, speed, stop, log)
    elif feed in STREAM_FEEDS:
        from ingest.websocket.stream_replay import serve as serve_stream

        _served(serve_stream, path, venue, to, speed, stop, log)
    else:
        raise SettingsError(f"a capture of feed {feed} is replayed with --into-sinks alone")


def _over_udp(path: Path, settings: LineSettings, to: str, speed: float, stop: threading.Event) -> None:
    from ingest.capture_replay import send_datagrams
    from ingest.udp.sockets import line_addresses

    where = to.split(",") if to else [str(line) for line in line_addresses(settings)]
    targets = [(host, port) for host, _, port in (each.strip().rpartition(":") for each in where)]
    if not all(host and port.isdecimal() and 0 < int(port) < 65_536 for host, port in targets):
        raise SettingsError(f"--to {to!r}: give HOST:PORT, such as 127.0.0.1:26400")
    with _bar("sending") as bar:
        task = bar.add_task(path.name, total=None)
        sent = send_datagrams(
            path, [(host, int(port)) for host, port in targets], speed=speed, stop=stop,
            progress=lambda done: bar.update(task, completed=done),
        )  # fmt: skip
    print(f"{sent:,} datagrams to {', '.join(where)}")


def _as_venue(path: Path, venue: str, speed: float, stop: threading.Event, log: Any) -> None:
    from ingest.capture_replay import CapturedLines
    from ingest.websocket.server import serve

    settings = SyntheticSettings.load()
    serve(
        CapturedLines(path, venue),
        stop,
        websocket_port=settings.websocket_port,
        rest_port=settings.rest_port,
        speed=speed,
        on_ready=lambda address: log.info(
            "replay.ready", venue=venue, session=path.name, websocket=address.websocket_url,
            rest=address.rest_url, speed=speed,
        ),
        on_end=lambda: log.info("replay.ended", venue=venue, session=path.name),
    )  # fmt: skip


def _served(
    serve: Callable[..., None], path: Path, venue: str, to: str, speed: float, stop: threading.Event, log: Any
) -> None:
    port = to.rpartition(":")[2]
    if to and not (port.isdecimal() and 0 < int(port) < 65_536):
        raise SettingsError(f"--to {to!r}: give the port, such as 13000")
    serve(
        path,
        stop,
        port=int(port or 0),
        speed=speed,
        on_ready=lambda address: log.info("replay.ready", venue=venue, session=path.name, address=address),
        on_end=lambda: log.info("replay.ended", venue=venue, session=path.name),
    )


def _into_sinks(path: Path, venue: str, settings: IngestSettings) -> None:
    from ingest.feeds import decoder_for
    from ingest.pipeline import load_capture
    from tickloom.cli.ingest import sinks_factory

    sinks = sinks_factory(settings, venue)()
    events = 0
    try:
        with _bar("writing events") as bar:
            task = bar.add_task(path.name, total=None)
            for block in load_capture(path, decoder_for(venue, path.name), sinks):
                events += len(block)
                bar.update(task, completed=events)
    finally:
        for sink in sinks:
            sink.close()
    print(f"{events:,} events of {path.name} are in Kafka and QuestDB; what was there already is there once")


def _path(data_dir: Path | None, venue: str, session: str) -> Path:
    from ingest.capture import session_path
    from ingest.feeds import captured_session

    root = data_dir or StackSettings.load().data_dir
    return session_path(root, venue, captured_session(root, venue, session))


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr)
    columns = (
        TextColumn(what + " {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds") if ns else ""


def _saved(before: int, after: int) -> str:
    return f"{before / MB:,.1f} to {after / MB:,.1f} MB, {before / after:.1f} to 1"
