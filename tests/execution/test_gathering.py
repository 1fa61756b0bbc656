"""What waits together is durable together: an agent without Kafka, an exchange on TCP, commits counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from execution import destinations, gateways, intake
from execution.limits import parse
from execution.orders import OrderRecord, client_order_id
from execution.reconcile import compare
from execution.service import ExecutionService
from execution.venues.simulated import gateway as gateway_module
from tests.execution.rig import LIMITS, VENUE, make_signal, standing_market
from tests.execution.venues.simulated.test_gateway import REGISTRY, Venue
from tickloom import topics
from tickloom.clock import SystemClock
from tickloom.events import OrderState, Signal
from tickloom.settings import ExchangeSettings, ExecutionSettings, KafkaSettings

SIGNALS = 200
PASSES = 5  # of the loop, which Faust needs for a message
GATHER_S = 0.05  # so long that a busy machine delivers something in it
WAIT_S = 60.0


def agent(directory: Path, port: int) -> ExecutionService:
    """One that knows the market; its gateway leads to ``port``."""
    settings = ExecutionSettings(venues=(VENUE,), enabled=True)
    connectivity = destinations.in_force(settings, ExchangeSettings(port=port, venues=(VENUE,)))
    clock = SystemClock()
    service = ExecutionService(
        settings=settings,
        kafka=KafkaSettings(),
        data_dir=directory,
        registry=REGISTRY,
        limits=parse(LIMITS.encode(), "limits", REGISTRY),
        gateways=lambda events, order_ids: gateways.make(connectivity, events, directory, order_ids, clock),
        sinks={},
        clock=clock,
    )
    for topic, batch in standing_market(REGISTRY, 2):
        if topic == topics.ticks(VENUE):
            service.market.apply(batch, clock.now_ns())
    return service


def made() -> list[Signal]:
    symbols = [one.symbol for one in REGISTRY.of_venue(VENUE)]
    return [
        make_signal(number + 1, symbols[number // 2 % len(symbols)], "sell" if number % 2 else "buy")
        for number in range(SIGNALS)
    ]


async def deliver(service: ExecutionService, signals: list[Signal]) -> None:
    """As Faust does: one at a time, with passes of the loop between two."""
    for offset, one in enumerate(signals):
        await service.intake.accept(msgspec.json.encode(one), 0, offset)
        for _ in range(PASSES):
            await asyncio.sleep(0)


def test_signals_and_reports_under_load_share_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst, delivered one by one, and what the exchange says of it take fewer commits than there are
    signals; each is traded once, and nothing leaves before its transaction is over."""
    monkeypatch.setattr(intake, "GATHER_S", GATHER_S)
    monkeypatch.setattr(gateway_module, "GATHER_S", GATHER_S)
    commits: list[str] = []
    early: list[str] = []

    async def run() -> None:
        venue = Venue(tmp_path)
        await venue.start()
        service = agent(tmp_path, venue.port)
        service.engine.recover()
        journal = service.journal
        journal._db.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
        gateway = service.gateway.members["simulated"]
        send = gateway.send

        def watched(*orders: OrderRecord) -> None:
            if journal._db.in_transaction:
                early.append(str(orders))
            send(*orders)

        gateway.send = watched  # type: ignore[method-assign]
        await service.gateway.start()
        assert await service.gateway.wait_connected(WAIT_S)
        commits.clear()
        taking = asyncio.create_task(service.intake.take_waiting())
        signals = made()
        await deliver(service, signals)
        last = client_order_id(signals[-1].signal_id, 0)
        async with asyncio.timeout(WAIT_S):
            while (found := journal.order(last)) is None or not found.terminal or service.engine.open:
                await asyncio.sleep(0.01)
        taking.cancel()
        journal._db.set_trace_callback(None)
        assert [order.state for order in journal.orders()] == [OrderState.FILLED] * SIGNALS
        assert len(journal.executions()) == SIGNALS
        assert service.engine.next_offsets(topics.SIGNALS) == {0: SIGNALS}
        await service.close()
        await venue.stop()

    asyncio.run(run())
    assert early == []
    assert len(commits) < SIGNALS  # one for each signal and each report would be 600
    assert compare(tmp_path / "execution" / "journal.db", tmp_path / "exchange.db", VENUE).differences == []
