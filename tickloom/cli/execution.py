"""``tickloom exchange`` and ``tickloom agent`` run the processes; ``tickloom risk`` looks and halts."""

from __future__ import annotations

import asyncio
import getpass
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import structlog
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tickloom.cli.limits import limits as limits_command
from tickloom.clock import NS_PER_DAY, SystemClock
from tickloom.errors import ServiceError, StorageError
from tickloom.instruments import Registry
from tickloom.prices import NANOS, format_nanos
from tickloom.settings import (
    ExchangeSettings,
    ExecutionSettings,
    KafkaSettings,
    QuestDbSettings,
    StackSettings,
)
from tickloom.telemetry import configure_logging

if TYPE_CHECKING:
    from execution.journal import Journal
    from execution.service import ExecutionService

RETURN_DAYS = 730  # two years: 500 trading days for the simulation; the covariance forgets far sooner
RETURNS_WAIT_S = 5.0  # orders are worth more than an estimate: a server that hangs is not waited for

app = typer.Typer(help="Positions, open orders and the kill switch, from the journal.", no_args_is_help=True)
app.command("limits")(limits_command)


def exchange(
    name: Annotated[str, typer.Option(help="Of this instance; its record has the name.")] = "exchange",
    venues: Annotated[Path | None, typer.Option(help="TOML file of its venues and ports.")] = None,
    port: Annotated[int | None, typer.Option(help="Of its own protocol, if not exchange.port.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="If not exchange.metrics_port.")] = None,
) -> None:
    """Run the simulated exchange: it fills orders against the live book of the feed."""
    from execution.exchange.process import run

    configure_logging(name)
    ports = {"port": port, "metrics_port": metrics_port}
    settings = ExchangeSettings.load(**{key: value for key, value in ports.items() if value is not None})
    asyncio.run(run(settings, KafkaSettings.load(), StackSettings.load().data_dir, name, venues))


def agent() -> None:
    """Run the order-and-risk agent: signals in, risk-checked orders out."""
    from execution.agent import run

    configure_logging("agent")
    settings, kafka, data_dir = ExecutionSettings.load(), KafkaSettings.load(), StackSettings.load().data_dir
    run(lambda: _service(settings, kafka, data_dir), settings, kafka, data_dir)


def _service(settings: ExecutionSettings, kafka: KafkaSettings, data_dir: Path) -> ExecutionService:
    from execution import limits
    from execution.outbox import KafkaFacts
    from execution.risk.warm import warm_up
    from execution.service import ExecutionService
    from execution.venues.simulated.gateway import SimulatedGateway
    from storage.facts import QuestDbFacts

    exchange_settings = ExchangeSettings.load()
    registry = Registry.load()
    in_force = limits.load(settings.limits_file, registry)
    warm_up(
        registry, in_force
    )  # else the first signals of the day would wait for a compiler, and grow too old
    service = ExecutionService(
        settings=settings,
        kafka=kafka,
        data_dir=data_dir,
        registry=registry,
        limits=in_force,
        gateway=lambda events: SimulatedGateway(
            exchange_settings.host, exchange_settings.port, exchange_settings.venues, events
        ),
        sinks={"questdb": QuestDbFacts(QuestDbSettings.load()), "kafka": KafkaFacts(kafka)},
        clock=SystemClock(),
    )
    _estimate(service)
    return service


def _estimate(service: ExecutionService) -> None:
    """Give value at risk the stored returns; without them, or QuestDB, declared volatilities count."""
    log = structlog.get_logger("execution")
    valuation = service.engine.pretrade.valuation
    pool = ThreadPoolExecutor(1, "returns")
    try:
        returns = pool.submit(_stored_returns, valuation.book.keys).result(RETURNS_WAIT_S)
    except (ServiceError, StorageError, TimeoutError) as error:
        log.warning("no_stored_returns", error=str(error) or f"no answer in {RETURNS_WAIT_S} s")
        return
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    valuation.set_returns(returns)
    log.info("stored_returns", days=len(returns), estimated=int(valuation.estimated.sum()))


def _stored_returns(keys: list[tuple[str, str]]) -> NDArray[np.float64]:
    from storage import QuestDbReader, bars

    now_ns = SystemClock().now_ns()
    with QuestDbReader(QuestDbSettings.load()) as reader:
        table = bars.read_daily_returns(reader, keys, now_ns - RETURN_DAYS * NS_PER_DAY, now_ns)
    found: NDArray[np.float64] = table.to_numpy(np.float64)
    return found


@app.command(name="compile")
def compile_gate() -> None:
    """Compile the pre-trade gate now, and keep the machine code: set-up calls this."""
    from execution import limits
    from execution.risk.warm import warm_up

    registry = Registry.load()
    warm_up(registry, limits.load(ExecutionSettings.load().limits_file, registry))
    print("the pre-trade gate is compiled")


@app.command()
def status() -> None:
    """Positions, P&L, open orders, the kill switch and the last alerts."""
    from execution.journal import Journal
    from execution.killswitch import KillSwitch
    from execution.service import journal_path

    path = journal_path(StackSettings.load().data_dir)
    journal = Journal(path, read_only=True)
    halted = KillSwitch(path.parent).halted_because()
    console = Console()
    console.print(f"kill switch: {'off' if halted is None else f'HALTED, {halted}'}")
    _show_positions(console, journal)
    _show_orders(console, journal)
    for _, action, who, why in journal.risk_actions()[-5:]:
        console.print(f"{action} by {who}: {why}", highlight=False)
    for _, kind, text in journal.alerts()[-5:]:
        console.print(f"alert ({kind}): {text}", highlight=False, markup=False)
    journal.close()


def _show_positions(console: Console, journal: Journal) -> None:
    from execution.positions import PositionBook, value_to_nanos

    book, marks = PositionBook(), journal.marks()
    for _, execution in journal.executions():
        book.book(execution)
    table = Table("venue", "symbol", box=None, title="Positions", title_justify="left")
    for name in ("quantity", "average price", "mid", "realised", "unrealised"):
        table.add_column(name, justify="right")
    realised = unrealised = 0
    for (venue, symbol), holding in sorted(book.holdings.items()):
        mid = marks.get((venue, symbol), holding.average_price)
        open_pnl = holding.unrealised(mid) if holding.quantity else 0
        realised, unrealised = realised + holding.realised, unrealised + open_pnl
        table.add_row(
            venue,
            symbol,
            format_nanos(holding.quantity),
            format_nanos(holding.average_price, 4),
            format_nanos(mid, 4),
            *(f"{value_to_nanos(value) / NANOS:,.2f}" for value in (holding.realised, open_pnl)),
        )
    console.print(table)
    parts = {"realised": realised, "unrealised at the last marks": unrealised, "total": realised + unrealised}
    shown = ", ".join(f"{name} {value_to_nanos(value) / NANOS:,.2f}" for name, value in parts.items())
    console.print(f"P&L: {shown}", highlight=False)


def _show_orders(console: Console, journal: Journal) -> None:
    table = Table(
        *("order", "rule", "venue", "symbol", "side", "state"),
        box=None,
        title="Open orders",
        title_justify="left",
    )
    for name in ("quantity", "filled", "limit"):
        table.add_column(name, justify="right")
    for order in journal.open_orders():
        table.add_row(
            *(order.order_id, order.rule, order.venue, order.symbol, order.side, order.state.value),
            *(format_nanos(value) for value in (order.quantity, order.filled_quantity, order.limit_price)),
        )
    console.print(table if table.row_count else "no open orders")


@app.command()
def halt(
    why: Annotated[str, typer.Option("--why", help="The reason; it is kept.")],
    who: Annotated[str, typer.Option("--who", help="You, if not your login name.")] = "",
) -> None:
    """Stop: no order leaves any more, open ones are cancelled. Works without Kafka and QuestDB."""
    from execution.killswitch import KillSwitch
    from execution.service import journal_path

    path = journal_path(StackSettings.load().data_dir)
    who = who or getpass.getuser()
    KillSwitch(path.parent).halt(who, why)  # first the effect, then the record of it
    _record(path, "halt", who, why)
    print(f"halted: {why} ({who}). `tickloom risk resume --why ...` lets orders leave again.")


@app.command()
def resume(
    why: Annotated[str, typer.Option("--why", help="The reason; it is kept.")],
    who: Annotated[str, typer.Option("--who", help="You, if not your login name.")] = "",
) -> None:
    """Let orders leave again."""
    from execution.killswitch import KillSwitch
    from execution.service import journal_path

    path = journal_path(StackSettings.load().data_dir)
    who = who or getpass.getuser()
    _record(path, "resume", who, why)
    resumed = KillSwitch(path.parent).resume()
    print(f"resumed: {why} ({who})" if resumed else "nothing was halted")


def _record(path: Path, action: str, who: str, why: str) -> None:
    from execution.journal import Journal

    journal = Journal(path)
    with journal.transaction():
        journal.risk_action(SystemClock().now_ns(), action, who, why)
    journal.close()
