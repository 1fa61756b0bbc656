"""The agent over several destinations: FIX, OUCH and a dark pool of an exchange with a process of its own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from execution import destinations, reconcile
from execution.exchange.control import ask
from execution.exchange.process import record_path
from execution.exchange.record import ExchangeRecord
from execution.orders import OrderRecord, client_order_id
from tests.execution.rig import LIMITS, VENUE, WAIT_S, Rig, make_signal, trading_rig
from tickloom.events import OrderState
from tickloom.prices import NANOS
from tickloom.stack import opened

pytestmark = pytest.mark.slow
numbers = itertools.count(1)
SHIPPED = Path("strategies/exchanges/nyc.toml")
#: The shipped file without the market that is not traded here.
DESTINATIONS = Path("strategies/destinations.toml").read_text().split("[destinations.BINANCE]")[0]
DESTINATIONS = DESTINATIONS.replace('[gateways.exchange]\nkind = "simulated"\nexchange = "exchange"\n', "")
#: 40,000 of ALFA at 152.41 are 262 shares: more than one of the venues shows of the 200 of the feed.
TRADED = LIMITS.replace('notional = "10000"', 'notional = "40000"', 1)
DISPLAYED = 200 * NANOS
#: The market stands still, so its feed says nothing for as long as a test lasts.
ROUTING = (
    Path("strategies/routing.toml").read_text().replace("feed_age_ms_max = 3000", "feed_age_ms_max = 600000")
)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("wiring")
    (directory / "destinations.toml").write_text(DESTINATIONS)
    (directory / "routing.toml").write_text(ROUTING)
    with trading_rig(
        directory / "data",
        TRADED,
        exchange={"instances": (SHIPPED,)},
        execution={
            "destinations_file": directory / "destinations.toml",
            "routing_file": directory / "routing.toml",
        },
        displayed=DISPLAYED,
    ) as running:
        yield running


def children(rig: Rig, parent_id: str) -> list[OrderRecord]:
    with rig.journal() as journal:
        return journal.children(parent_id)


def wait_over(rig: Rig, parent_id: str) -> OrderRecord:
    """The parent, once it and all its parts have ended."""

    def over(journal: object) -> bool:
        order = journal.order(parent_id)  # type: ignore[attr-defined]
        return order is not None and order.terminal and not journal.open_orders()  # type: ignore[attr-defined]

    rig.wait_for("the end of the parent", over)
    with rig.journal() as journal:
        order = journal.order(parent_id)
    assert order is not None
    return order


def assert_agree(rig: Rig) -> None:
    """Journal and the exchange's record, over all destinations."""
    connectivity = destinations.parse(DESTINATIONS.encode(), "file", (VENUE,))
    found = reconcile.compare_market(rig.data_dir, VENUE, connectivity)
    assert found.differences == []
    assert found.executions > 0


def fault(rig: Rig, command: str, **arguments: object) -> None:
    port = opened.read(rig.data_dir, "nyc")["control"]
    asyncio.run(ask("127.0.0.1", port, {"command": command, **arguments}))


def test_one_signal_is_filled_over_several_venues_and_protocols(rig: Rig) -> None:
    """262 shares: XTWO is cheapest and shows 120, XNAS 200; both are at 152.41. The dark pool is asked
    first. The position is the market's, the executions are the destinations'."""
    signal = make_signal(next(numbers), "ALFA")
    rig.publish([signal])
    parent = wait_over(rig, client_order_id(signal.signal_id, 0))
    assert (parent.state, parent.filled_quantity) == (OrderState.FILLED, 262 * NANOS), parent.reason
    filled = Counter[str]()
    for child in children(rig, parent.order_id):
        filled[child.sent_to] += child.filled_quantity // NANOS
    assert filled["XTWO"] == 120
    assert filled["XNAS"] == 142
    assert "DARK" in {child.sent_to for child in children(rig, parent.order_id)}
    with rig.journal() as journal:
        fees = {one.destination: one.fee for _, one in journal.executions()}
        positions = Counter[str]()
        for _, one in journal.executions():
            positions[one.venue] += one.quantity
    assert positions == {VENUE: 262 * NANOS}
    assert fees == {"XTWO": round(120 * 0.0018 * NANOS), "XNAS": round(142 * 0.0030 * NANOS)}
    assert_agree(rig)


def test_a_pair_goes_out_on_both_legs(rig: Rig) -> None:
    """Two parents of one signal, each over the destinations; both records agree."""
    signal = make_signal(next(numbers), "ECHO~FXTR", "sell")
    rig.publish([signal])
    legs = [wait_over(rig, client_order_id(signal.signal_id, leg)) for leg in (0, 1)]
    assert [(leg.symbol, leg.side, leg.filled_quantity > 0) for leg in legs] == [
        ("ECHO", "sell", True),
        ("FXTR", "buy", True),
    ]
    assert_agree(rig)


def test_the_decision_names_the_books_that_it_saw(rig: Rig) -> None:
    """Of each lit venue its own: XTWO shows 120 of the feed's 200, XTHR 80, a tick wider."""
    with rig.journal() as journal:
        parents = [order for order in journal.orders() if not order.parent_id]
        decisions = [msgspec.json.decode(route.decision) for route in journal.routes(parents[0].order_id)]
    text = msgspec.json.encode(decisions).decode()
    assert "XTWO" in text
    assert "XTHR" in text


@pytest.mark.parametrize("venue", ["XNAS", "XTWO"])
def test_lost_acknowledgement_is_resolved_over_either_protocol(rig: Rig, venue: str) -> None:
    """The venue has the order, the session drops before it says so: nothing is doubled or forgotten."""
    fault(rig, "lose_acks", venue=venue, count=1)
    signal = make_signal(next(numbers), "KILO", "buy" if venue == "XNAS" else "sell")
    rig.publish([signal])
    wait_over(rig, client_order_id(signal.signal_id, 0))
    assert_agree(rig)


def test_a_silent_session_is_resolved_by_the_drop_copy(rig: Rig) -> None:
    """For 3 s the FIX session of XNAS says nothing; the fill there is booked from the copy, with an alert,
    and is no other one when the session tells it too."""
    fault(rig, "silence", for_s=3, client="fix:XNAS:TICKLOOM")
    signal = make_signal(next(numbers), "ALFA", "sell")
    rig.publish([signal])
    parent = wait_over(rig, client_order_id(signal.signal_id, 0))
    assert parent.filled_quantity == 262 * NANOS, parent.reason
    with rig.journal() as journal:
        alerts = [text for _, kind, text in journal.alerts() if kind == "drop_copy"]
        executions = [one for _, one in journal.executions() if one.symbol == "ALFA" and one.side == "sell"]
    assert "booked from the copy" in alerts[0]
    assert Counter(one.destination for one in executions) == {"XTWO": 1, "XNAS": 1}
    time.sleep(3.0)
    assert_agree(rig)


def test_exchange_killed_under_orders(rig: Rig) -> None:
    """It comes back on the ports that it had; every order ends, and the records agree."""
    before = opened.read(rig.data_dir, "nyc")
    signals = [make_signal(next(numbers), symbol) for symbol in ("LIMA", "MIKE", "ALFA", "KILO")]
    rig.publish(signals[:2])
    pid = rig.stack.kill("exchange-nyc")
    rig.publish(signals[2:])
    rig.stack.wait_healthy("exchange-nyc", WAIT_S, not_pid=pid)
    rig.wait_for(
        "all signals taken",
        lambda journal: {one.signal_id for one in signals} <= {row[0] for row in journal.signals()},
    )
    rig.wait_for("no open order", lambda journal: not journal.open_orders() and not journal.open_parents())
    assert opened.read(rig.data_dir, "nyc") == before
    assert_agree(rig)
    record = ExchangeRecord(record_path(rig.data_dir, "nyc"), read_only=True)
    taken = [order.order_id for order in record.orders()]
    record.close()
    assert len(taken) == len(set(taken))
