"""``tickloom exchange`` and ``tickloom agent`` run the processes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import structlog
import typer
from numpy.typing import NDArray

from tickloom.clock import NS_PER_DAY, SystemClock
from tickloom.errors import ServiceError, StorageError
from tickloom.instruments import Registry
from tickloom.settings import (
    ExchangeSettings,
    ExecutionSettings,
    KafkaSettings,
    QuestDbSettings,
    StackSettings,
)
from tickloom.telemetry import configure_logging

if TYPE_CHECKING:
    from execution.destinations import Connectivity
    from execution.service import ExecutionService, RouterFactory

RETURN_DAYS = 730  # two years: 500 trading days for the simulation; the covariance forgets far sooner
RETURNS_WAIT_S = 5.0  # orders are worth more than an estimate: a server that hangs is not waited for


def exchange(
    name: Annotated[str, typer.Option(help="Of this instance; its record has the name.")] = "exchange",
    venues: Annotated[Path | None, typer.Option(help="TOML file of its venues and ports.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Of its own protocol, if not the file's or exchange.port.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="If not the file's or exchange.metrics_port.")
    ] = None,
) -> None:
    """Run the simulated exchange: it fills orders against the live book of the feed."""
    from execution.exchange.process import run

    configure_logging(name)
    settings, kafka, data_dir = ExchangeSettings.load(), KafkaSettings.load(), StackSettings.load().data_dir
    asyncio.run(run(settings, kafka, data_dir, name, venues, port, metrics_port))


def agent(
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait for the agent of this journal to end, then take over.")
    ] = False,
) -> None:
    """Run the order-and-risk agent: signals in, risk-checked orders out."""
    from execution import destinations
    from execution.agent import run
    from execution.service import feeds

    configure_logging("agent")
    settings, kafka, data_dir = ExecutionSettings.load(), KafkaSettings.load(), StackSettings.load().data_dir
    connectivity = destinations.in_force(settings, ExchangeSettings.load())
    run(
        lambda: _service(settings, kafka, data_dir, connectivity, standby),
        *(settings, kafka, data_dir, feeds(settings, connectivity)),
    )


def _service(
    settings: ExecutionSettings,
    kafka: KafkaSettings,
    data_dir: Path,
    connectivity: Connectivity,
    standby: bool = False,
) -> ExecutionService:
    from execution import gateways, limits
    from execution.outbox import KafkaFacts
    from execution.risk.warm import warm_up
    from execution.service import ExecutionService
    from storage.facts import QuestDbFacts

    registry = Registry.load()
    in_force = limits.load(settings.limits_file, registry)
    warm_up(
        registry, in_force
    )  # else the first signals of the day would wait for a compiler, and grow too old
    clock = SystemClock()
    service = ExecutionService(
        settings=settings,
        kafka=kafka,
        data_dir=data_dir,
        registry=registry,
        limits=in_force,
        gateways=lambda events, order_ids: gateways.make(connectivity, events, data_dir, order_ids, clock),
        sinks={"questdb": QuestDbFacts(QuestDbSettings.load()), "kafka": KafkaFacts(kafka)},
        clock=clock,
        router=_router_factory(settings, connectivity, registry),
        standby=standby,
    )
    _estimate(service)
    return service


def _router_factory(
    settings: ExecutionSettings, connectivity: Connectivity, registry: Registry
) -> RouterFactory | None:
    """A router where there is more than one way to go: with a destinations file."""
    from execution.router.books import MarketBooks
    from execution.router.settings import load
    from execution.router.smart import SmartRouter

    if settings.destinations_file is None:
        return None
    routing, destinations = load(settings.routing_file), connectivity.destinations
    return lambda market, reachable, order_of: SmartRouter(
        routing, destinations, registry, MarketBooks(market), reachable, order_of
    )


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
