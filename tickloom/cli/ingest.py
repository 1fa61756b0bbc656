"""``tickloom ingest``: the live ingesters, the loader of files, and the counter of captures."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickloom.errors import SettingsError
from tickloom.settings import (
    BinanceSettings,
    BybitSettings,
    CoinbaseSettings,
    DbnSettings,
    IexSettings,
    IngestSettings,
    ItchSettings,
    KafkaSettings,
    KrakenSettings,
    Mdp3Settings,
    NewsSettings,
    OkxSettings,
    QuestDbSettings,
    StackSettings,
)
from tickloom.telemetry import configure_logging

if TYPE_CHECKING:
    from ingest.pipeline import SinksFactory

app = typer.Typer(
    help="Bytes off the wire, or out of a file: captured first, then on Kafka and in QuestDB.",
    no_args_is_help=True,
)


@app.command()
def itch() -> None:
    """Capture and publish ITCH 5.0 in MoldUDP64 or SoupBinTCP, until SIGTERM or Ctrl-C."""
    from ingest.itch.session import run

    _follow("itch", ItchSettings.load(), run)


@app.command()
def iex() -> None:
    """Capture and publish IEX DEEP 1.0 or TOPS 1.6 over IEX-TP, until SIGTERM or Ctrl-C."""
    from ingest.iex.session import run

    _follow("iex", IexSettings.load(), run)


@app.command()
def mdp3() -> None:
    """Capture and publish a channel of CME MDP 3.0, until SIGTERM or Ctrl-C."""
    from ingest.sbe.mdp3.session import run

    _follow("mdp3", Mdp3Settings.load(), run)


@app.command()
def dbn() -> None:
    """Capture and publish a dataset of Databento's live gateway, until SIGTERM or Ctrl-C."""
    from ingest.dbn.session import run

    _follow("dbn", DbnSettings.load(), run)


@app.command()
def binance() -> None:
    """Capture and publish a Binance-format websocket, until SIGTERM or Ctrl-C."""
    from ingest.websocket.binance.session import run

    _follow("binance", BinanceSettings.load(), run)


@app.command()
def kraken() -> None:
    """Capture and publish Kraken (websocket API v2, or v1), until SIGTERM or Ctrl-C."""
    from ingest.websocket.kraken.session import run

    _follow("kraken", KrakenSettings.load(), run)


@app.command()
def okx() -> None:
    """Capture and publish OKX (API v5), until SIGTERM or Ctrl-C."""
    from ingest.websocket.okx.session import run

    _follow("okx", OkxSettings.load(), run)


@app.command()
def coinbase() -> None:
    """Capture and publish Coinbase Exchange, until SIGTERM or Ctrl-C."""
    from ingest.websocket.coinbase.session import run

    _follow("coinbase", CoinbaseSettings.load(), run)


@app.command()
def bybit() -> None:
    """Capture and publish Bybit (API v5), until SIGTERM or Ctrl-C."""
    from ingest.websocket.bybit.session import run

    _follow("bybit", BybitSettings.load(), run)


@app.command()
def live(feed: Annotated[str, typer.Argument(help="A feed that declares itself, such as template.")]) -> None:
    """Capture and publish a feed of a folder of its own (docs/feeds.md), until SIGTERM or Ctrl-C."""
    from ingest.feeds import live_of

    kind, run = live_of(feed)
    _follow(feed, kind.load(), run)


@app.command()
def news() -> None:
    """Capture, score and publish the news of strategies/news.toml, until SIGTERM or Ctrl-C."""
    from ingest.news.session import run

    _follow("news", NewsSettings.load(), run)


@app.command(name="file")
def load(
    source: Annotated[
        Path,
        typer.Argument(
            help="An ITCH 5.0 file, a pcap or pcapng of ITCH, IEX or MDP 3.0, or Databento's DBN; also gzip "
            "or zstd."
        ),
    ],
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="The trading day of the file; DBN tells its own."),
    ] = None,
    venue: Annotated[
        str,
        typer.Option(
            help="Venue as in strategies/instruments.toml. Default: that of DBN's dataset, else ITCH's."
        ),
    ] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Where captures are kept.")] = None,
    publish: Annotated[bool, typer.Option(help="Also write it to Kafka and QuestDB.")] = False,
) -> None:
    """Turn a file into a capture, and print what it holds as JSON."""
    from ingest.bulk.load import venue_of_dataset
    from ingest.feeds import decoder_for, is_dbn, load_file
    from ingest.pipeline import count_events, load_capture
    from tickloom.instruments import Registry

    settings = ItchSettings.load()
    venue = venue or (venue_of_dataset(source, Registry.load()) if is_dbn(source) else settings.venue)
    root = data_dir or StackSettings.load().data_dir
    loaded = load_file(source, root, venue, day.date() if day else None)
    if loaded.damage:
        typer.echo(f"{loaded.damage}; what is whole before it was loaded", err=True)
    decoder = decoder_for(venue, loaded.session)
    counts = count_events(loaded.path, decoder)
    if publish:
        configure_logging("itch")
        sinks = sinks_factory(settings, venue)()
        for _ in load_capture(loaded.path, decoder_for(venue, loaded.session), sinks):
            pass
        for sink in sinks:
            sink.close()
    packets = {"packets": loaded.packets, "foreign": loaded.foreign, "damage": loaded.damage}
    report = {"capture": str(loaded.path), "file": packets, **_report(decoder, counts)}
    print(json.dumps(report, indent=1))


@app.command()
def count(
    session: Annotated[
        str, typer.Argument(help="Session as its directory is called; empty: the latest.")
    ] = "",
    venue: Annotated[str, typer.Option(help="Venue as in strategies/instruments.toml.")] = "XNAS",
    data_dir: Annotated[Path | None, typer.Option(help="Where captures are kept.")] = None,
) -> None:
    """Decode a capture and print how many events it holds, a table and symbol, as JSON."""
    from ingest.capture import session_path
    from ingest.feeds import captured_session, decoder_for
    from ingest.pipeline import count_events

    root = data_dir or StackSettings.load().data_dir
    session = captured_session(root, venue, session)
    decoder = decoder_for(venue, session)
    counts = count_events(session_path(root, venue, session), decoder)
    print(json.dumps(_report(decoder, counts), indent=1))


@app.command(name="compile")
def compile_kernels(
    feeds: Annotated[
        list[str] | None, typer.Argument(help="Feeds as in strategies/instruments.toml; none: all.")
    ] = None,
) -> None:
    """Compile decoders, and the generator, now: the first start of one does not have to."""
    from ingest.feeds import FEEDS
    from ingest.warm import warm_up_feed, warm_up_shared, warm_up_synthetic
    from tickloom.instruments import Registry

    registry = Registry.load()
    unknown = sorted(set(feeds or ()) - set(FEEDS))
    if unknown:
        raise SettingsError(f"no feed {', '.join(unknown)}; known are {', '.join(FEEDS)}")
    warm_up_shared()
    for feed in feeds or FEEDS:
        warm_up_feed(feed, registry)
    warm_up_synthetic()


def sinks_factory(settings: IngestSettings, venue: str) -> SinksFactory:
    """Kafka and QuestDB, as every ingester writes to them."""

    def make() -> list[Any]:
        from ingest.kafka_sink import KafkaSink
        from storage.writer import QuestDbSink

        return [
            KafkaSink(KafkaSettings.load(), settings, venue),
            QuestDbSink(QuestDbSettings.load(), settings.questdb_flush_ms, settings.questdb_flush_rows_max),
        ]

    def make_news() -> list[Any]:
        from ingest.news.kafka_sink import NewsKafkaSink
        from storage.news import QuestDbNews

        return [
            NewsKafkaSink(KafkaSettings.load(), settings, venue),
            QuestDbNews(QuestDbSettings.load(), settings.questdb_flush_ms),
        ]

    return make_news if isinstance(settings, NewsSettings) else make


def _follow(feed: str, settings: Any, run: Callable[..., None]) -> None:
    """Run an ingester until it is told to stop."""
    from ingest.feeds import check_venue

    configure_logging(feed)
    check_venue(settings, feed, settings.venue)
    with _stopping() as stop:
        run(settings, sinks_factory(settings, settings.venue), stop)


def _report(decoder: Any, counts: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {
        "venue": decoder.venue,
        "session": decoder.session,
        "ended": decoder.ended,
        "messages": dict(sorted(decoder.counters.items())),
        "events": {table: sum(found.values()) for table, found in counts.items()},
        "by_symbol": counts,
    }


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set: what is captured is then flushed, and the exit code is 0."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
