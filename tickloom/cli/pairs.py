"""``tickloom pairs``: which pairs there are, what they are calibrated with, and their spreads live."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from tickloom.clock import NS_PER_S, SystemClock
from tickloom.errors import CalibrationError, RuleError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strategies.pairs.frozen import PairSet
    from tickloom.events import Calibration

app = typer.Typer(
    help="Pairs: calibrate them over stored bars, freeze what is admitted, compute spreads live.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
WIDTH_PIPED = 160  # columns where the output is no terminal
SHOWN_MAX = 40  # refused pairs; --all shows more

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_PIPED)

Venue = Annotated[str, typer.Argument(help="MIC or code of the venue, such as XNAS.")]


class Start(StrEnum):
    """Where in the topic of ticks a job begins."""

    earliest = "earliest"
    latest = "latest"
    stopped = "stopped"


@app.command("list")
def list_pairs() -> None:
    """The frozen calibrations, whether the agent trades by them, and which rules name their version."""
    from strategies.pairs import frozen
    from tickloom.instruments import Registry

    registry = Registry.load()
    for venue in frozen.venues():
        pair_set = frozen.find(venue)
        console.print(
            f"[bold]{venue}[/] calibration {pair_set.version}, {len(pair_set.pairs)} pairs, valid from "
            f"{pair_set.valid_from.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC. {pair_set.about}"
        )
        table = Table("pair", box=None)
        for column in ("hedge ratio", "mean", "deviation", "half-life"):
            table.add_column(column, justify="right")
        table.add_column("traded")
        for pair in pair_set.pairs:
            half_life_s = pair.evidence.get("half_life_s")
            table.add_row(
                pair.symbol,
                *(f"{value:,.6g}" for value in (pair.hedge_ratio, pair.mean, pair.deviation)),
                "" if half_life_s is None else _duration(half_life_s),
                "yes" if (venue, pair.symbol) in registry.pairs else "no: not in instruments.toml",
            )
        console.print(table)
        _show_consequences(pair_set)


@app.command()
def calibrate(
    venue: Venue,
    begin: Annotated[str, typer.Option("--from", help="ISO time, UTC. Default: the candidates' days.")] = "",
    end: Annotated[str, typer.Option("--to", help="ISO time, UTC; exclusive. Default: now.")] = "",
    bar: Annotated[str, typer.Option(help="1s or 1m. Default: as candidates.toml says.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Keep nothing in QuestDB.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every pair that was refused.")] = False,
) -> None:
    """Test the candidate pairs of a venue over stored bars; says which were refused, and why."""
    from storage import bars, calibrations
    from storage.reader import QuestDbReader
    from strategies.pairs import calibration, candidates
    from tickloom.settings import QuestDbSettings

    wanted = candidates.find(venue)
    bar = bar or wanted.bar
    if bar not in candidates.BARS:
        raise SettingsError(f"--bar {bar}: write one of {', '.join(candidates.BARS)}")
    to_ns = _time_ns(end) if end else SystemClock().now_ns()
    from_ns = _time_ns(begin) if begin else to_ns - wanted.days * 86_400 * NS_PER_S
    settings = QuestDbSettings.load()
    with QuestDbReader(settings) as reader, console.status(f"{len(wanted.pairs)} pairs of {venue}"):
        closes = bars.read_closes(reader, venue, bar, from_ns, to_ns, wanted.symbols)
        found = calibration.calibrate(closes, wanted.pairs, venue, candidates.BARS[bar])
    _show(found, everything=everything)
    if dry_run:
        return
    calibrations.write_calibrations(settings, found)
    if any(one.admitted for one in found):
        console.print(f"\nkept; `tickloom pairs freeze {venue}` makes them those that spreads go by")


@app.command()
def freeze(
    venue: Venue,
    at: Annotated[str, typer.Option(help="Time of the calibration, ISO, UTC. Default: the latest.")] = "",
    stale_ms: Annotated[int | None, typer.Option(help="A leg older than this makes no spread.")] = None,
    rolling_half_life_ms: Annotated[int | None, typer.Option(help="Of the rolling mean's weights.")] = None,
) -> None:
    """Write what was admitted into strategies/pairs/VENUE.toml; a job takes it when it is submitted again."""
    from storage.calibrations import read_calibrations
    from storage.reader import QuestDbReader
    from strategies.pairs import frozen

    with QuestDbReader() as reader:
        found = read_calibrations(reader, venue, _time_ns(at) if at else None)
    before = frozen.find(venue) if venue in frozen.venues() else None
    pair_set = frozen.of_calibrations(
        found, before, stale_ms=stale_ms, rolling_half_life_ms=rolling_half_life_ms
    )
    path = frozen.PAIRS_DIR / f"{venue}.toml"
    path.write_text(frozen.dumps(pair_set))
    console.print(f"{path}: {len(pair_set.pairs)} pairs, calibration {pair_set.version}")
    for line in frozen.changes(before, pair_set):
        console.print(f"  {line}")
    _show_consequences(pair_set)
    console.print(f"`tickloom pairs submit {venue} --replace` computes spreads with it from then on")


@app.command()
def submit(
    venue: Venue,
    start: Annotated[
        Start | None,
        typer.Option("--from", help="What the topic still holds, what comes, or where it stopped last."),
    ] = None,
    replace: Annotated[
        bool, typer.Option(help="Stop the venue's job first, and go on where it was.")
    ] = False,
    savepoint: Annotated[str, typer.Option(help="Go on from the savepoint that `stop` gave.")] = "",
) -> None:
    """Compute a venue's spreads live, as a Flink job: quotes in, the topic and the view `spreads` out."""
    from strategies.features import spread_job
    from tickloom.settings import FlinkSettings, KafkaSettings

    flink = FlinkSettings.load()
    job = spread_job.submit(
        venue,
        flink,
        KafkaSettings.load(),
        start=None if start is None else start.value,
        replace_running=replace,
        savepoint=savepoint,
    )
    if job.note:
        console.print(f"{job.name}: {job.note}")
    url = f"{flink.rest_url}/#/job/running/{job.job_id}/overview"
    console.print(f"{job.name}, calibration {job.calibration}, {job.pairs} pairs runs: {url}")


@app.command()
def stop(
    venue: Venue,
    savepoint: Annotated[bool, typer.Option(help="Keep its state, to go on from.")] = True,
) -> None:
    """Stop computing a venue's spreads."""
    from strategies.features import spread_job
    from streaming.live import jobs
    from tickloom.settings import FlinkSettings

    name = spread_job.name_of(venue)
    for path in jobs.stop(name, FlinkSettings.load(), savepoint=savepoint):
        console.print(f"its state is in {path}: `tickloom pairs submit {venue} --savepoint {path}` goes on")
    console.print(f"{name} is stopped")


@app.command()
def record() -> None:
    """Write spreads from Kafka to QuestDB until stopped: the service `spreads` of the stack."""
    from storage import spreads
    from tickloom.settings import KafkaSettings, PairsSettings, QuestDbSettings
    from tickloom.telemetry import configure_logging, start_metrics

    log = configure_logging("spreads")
    settings, stopping = PairsSettings.load(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    rows = spreads.record(
        settings.venues,
        KafkaSettings.load(),
        QuestDbSettings.load(),
        stopping,
        ready=lambda: start_metrics(settings.metrics_port),
    )
    log.info("spreads.stopped", rows=rows)


def _show(found: Sequence[Calibration], *, everything: bool) -> None:
    admitted = [one for one in found if one.admitted]
    refused = sorted(
        (one for one in found if not one.admitted), key=lambda one: (one.p_value != one.p_value, one.p_value)
    )
    sample = found[0]
    console.print(
        f"{len(found):,} pairs of {sample.venue} over bars of {sample.bar_s:g} s, "
        f"{_utc(sample.sample_from)} to {_utc(sample.ts)} UTC: "
        f"[bold]{len(admitted):,} admitted[/], {len(refused):,} refused"
    )
    if admitted:
        table = Table("pair", box=None)
        columns = (
            "hedge ratio",
            "Johansen's",
            "mean",
            "deviation",
            "half-life",
            "p-value",
            "q-value",
            "bars",
        )
        for column in columns:
            table.add_column(column, justify="right")
        for one in admitted:
            numbers = (one.hedge_ratio, one.johansen_hedge_ratio, one.mean, one.deviation)
            table.add_row(
                one.symbol,
                *(f"{value:,.5g}" for value in numbers),
                _duration(one.half_life_s),
                f"{one.p_value:.2g}",
                f"{one.q_value:.2g}",
                f"{one.observations:,}",
            )
        console.print(table)
    if refused:
        console.print()
        table = Table("refused", "because", box=None)
        shown = refused if everything else refused[:SHOWN_MAX]
        for one in shown:
            table.add_row(one.symbol, one.refused)
        console.print(table)
        if len(shown) < len(refused):
            reasons = Counter(one.refused.partition(" (")[0] for one in refused[len(shown) :])
            text = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(3))
            console.print(f"and {len(refused) - len(shown):,} more ({text}): --all shows them")


def _show_consequences(pair_set: PairSet) -> None:
    """What else has to follow a set: the registry by which the agent trades, the rules that name it."""
    from strategies.pairs import frozen
    from streaming import rules
    from tickloom.instruments import Registry

    for line in frozen.disagreements(pair_set, Registry.load()):
        console.print(f"[yellow]the agent trades another ratio[/]: {line}")
    for name in rules.names():
        try:
            rule = rules.find(name)
        except RuleError:
            continue  # `tickloom rules check` says what is wrong with it
        parameter = rule.parameters.get("calibration")
        if rule.venue == pair_set.venue and parameter and parameter.default != str(pair_set.version):
            console.print(
                f"[yellow]rule {name} trades on calibration {parameter.default}[/]: change that in its file "
                f"(and raise its version), or submit it with --param calibration={pair_set.version}"
            )


def _duration(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds, 1))}".removesuffix("00000") if seconds < 1e9 else "never"


def _utc(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns / NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _time_ns(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CalibrationError(f"{text!r} is no time such as 2026-11-20T14:30:00") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1_000_000) * 1_000
