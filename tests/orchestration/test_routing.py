"""The regret report: on paper, and by a real Dagster run over a journal and a real QuestDB."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer

from execution.destinations import Destination, Destinations
from execution.journal import Journal
from execution.orders import OrderRecord, client_order_id
from execution.router import record
from execution.router.record import ChosenSlice, DecisionRecord
from execution.service import journal_path
from orchestration.definitions import defs
from orchestration.defs.routing import regret
from orchestration.defs.routing.assets import destination_quotes, routing_regret
from orchestration.defs.routing.fills import RoutedFill
from orchestration.defs.schedules import regret_yesterday
from storage import QuestDbReader, QuestDbSink, schema, wait_applied
from tickloom import topics
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.codec import TickBatch, encode
from tickloom.events import QUOTE_DTYPE, EventBlock, Execution, OrderState, Signal, SymbolTable
from tickloom.prices import NANOS, NO_PRICE
from tickloom.records import replace
from tickloom.settings import KafkaSettings, QuestDbSettings

CENT = NANOS // 100
MILL = NANOS // 1_000
DAY = "2025-06-03"
OPEN_NS = int(datetime(2025, 6, 3, 14, 0, tzinfo=UTC).timestamp()) * NS_PER_S
FILE = """
version = 1
[gateways.one]
kind = "simulated"
exchange = "exchange"
[destinations.XNAS]
market = "XNAS"
gateway = "one"
taker_fee = "0.003"
maker_fee = "-0.002"
[destinations.BATS]
market = "XNAS"
gateway = "one"
taker_fee = "-0.001"
[destinations.DARK]
market = "XNAS"
gateway = "one"
kind = "dark"
book = "XNAS"
taker_fee = "0.001"
"""


def fill(cents: int, shares: float, fee: float = 0.0, side: str = "buy") -> RoutedFill:
    """An execution, for arithmetic on paper."""
    execution = Execution(
        "E", "O", "XNAS", "ALFA", side, cents * CENT, round(shares * NANOS), OPEN_NS, OPEN_NS
    )
    return RoutedFill(execution, "P", "rule", "take", 0, OPEN_NS, cents / 100, shares, fee)


def test_regret_pairs_executions_with_what_was_displayed() -> None:
    """Bought 30 at 100.02 and 40 at 100.04 where 50 were had for 100.01 and 10 for 100.03: the cheaper 30
    with 30 at 100.01 (0.30); of the others 20 with 100.01 (0.60), 10 with 100.03 (0.10), 10 with nothing."""
    quotes = [regret.Quoted("A", 100.01, 50), regret.Quoted("B", 100.03, 10)]
    assert regret.regrets([fill(100_04, 40), fill(100_02, 30)], quotes) == pytest.approx([0.70, 0.30])
    assert regret.regrets([fill(100_00, 10)], quotes) == pytest.approx([-0.10])
    assert regret.regrets([fill(100_00, 10)], []) == [None]


def test_a_sale_regrets_what_it_did_not_get() -> None:
    """Sold 10 at 99.99 with a fee of 0.03, all in 99.987, where 100.00 less 0.001 was bid: 0.12."""
    quotes = [regret.Quoted("A", -100.00 + 0.001, 10)]
    assert regret.regrets([fill(99_99, 10, 0.03, "sell")], quotes) == pytest.approx([0.12])


def test_a_quote_is_all_in_and_an_empty_side_is_none() -> None:
    """The taker's fee is added to an offer and taken off a bid."""
    place = Destination("A", "XNAS", "g", "lit", "A", 0, 3 * MILL)
    touches = {
        ("m", "A"): regret.Touch(99.0, 5.0, 100.0, 7.0),
        ("n", "A"): regret.Touch(99.0, 5.0, None, None),
    }
    assert regret.quoted(touches, "m", "buy", [place]) == [regret.Quoted("A", 100.003, 7.0)]
    assert regret.quoted(touches, "m", "sell", [place]) == [regret.Quoted("A", -98.997, 5.0)]
    assert regret.quoted(touches, "n", "buy", [place]) == []


def test_markouts_and_means_on_paper() -> None:
    """Bought at 100.00, a mid of 100.05 ten seconds later: 5 bps; a sale that is -5; means go by money."""
    places = Destinations({})
    buy, sell = fill(100_00, 30), fill(100_00, 10, side="sell")
    mids = {(regret.key_of(buy), 10): 100.05}
    found = regret.rows([buy, sell], places, {}, {}, mids)
    assert [row["markout_10s_bps"] for row in found] == pytest.approx([5.0, -5.0])
    assert found[0]["regret"] is None
    assert regret.weighted_mean(found, "markout_10s_bps") == pytest.approx(2.5)
    assert regret.weighted_mean(found, "markout_1s_bps") is None


def write_quotes(questdb: QuestDbSettings) -> None:
    """XNAS 100.00 to 100.02 x 50, BATS 100.00 to 100.01 x 20; after 5 s both are 10 cents higher."""
    schema.apply(questdb)
    for venue, ask, size in (("XNAS", 100_02, 50), ("BATS", 100_01, 20)):
        symbols = SymbolTable(["ALFA"])
        rows = []
        for seq, (offset_s, up) in enumerate(((-1, 0), (5, 10)), 1):
            ts = OPEN_NS + offset_s * NS_PER_S
            head = (ts, ts, seq, 1)
            rows.append((*head, (100_00 + up) * CENT, 50 * NANOS, (ask + up) * CENT, size * NANOS, 0))
        block = EventBlock(venue, "20250603.A", symbols, quotes=np.array(rows, dtype=QUOTE_DTYPE))
        sink = QuestDbSink(questdb)
        sink.resume_after(venue, block.session)
        sink.write(block, int(block.quotes["ts_event"].max()), 2)
        sink.close()
    wait_applied(questdb, ["quotes"])


def write_journal(data_dir: Path) -> None:
    """A parent that bought 20 at BATS, 40 at XNAS and 10 in the dark by one decision."""
    journal = Journal(journal_path(data_dir))
    now_ns = OPEN_NS + NS_PER_DAY  # our clock, a day after the market that is replayed
    parent = OrderRecord(
        *(client_order_id("S", 0), "S", 0, "rule", "XNAS", "ALFA", "buy", 70 * NANOS, 100_10 * CENT, "ioc"),
        *(OrderState.NEW, now_ns, now_ns),
    )
    parts = (("BATS", 20, 100_01, "limit"), ("XNAS", 40, 100_02, "limit"), ("DARK", 10, 100_01, "midpoint"))
    signal = Signal("S", "rule", "1", "ALFA", "buy", 1.0, 100.0, 1, 1, "XNAS", OPEN_NS, OPEN_NS)
    slices = [ChosenSlice(name, f"{shares}", "100.1", kind, "ioc", "") for name, shares, _, kind in parts]
    kept = DecisionRecord(
        *(1, now_ns, OPEN_NS, "buy", "70", "0", "0", "70", "100.1", 0, "sweep", "", "digest"), slices=slices
    )
    with journal.transaction():
        journal.add_signal(signal, "accepted", "", now_ns)
        journal.add_order(parent, sent=False)
        made = [{"order_id": f"CHILD{number}", "refused": ""} for number in range(len(parts))]
        route = {"orders": made, "done": False, "record": msgspec.Raw(record.encode(kept))}
        journal.add_route(parent.order_id, now_ns, msgspec.json.encode(route))
        for number, (name, shares, cents, kind) in enumerate(parts):
            child = replace(
                parent,
                order_id=f"CHILD{number}",
                parent_id=parent.order_id,
                destination=name,
                quantity=shares * NANOS,
                order_type=kind,
            )
            journal.add_order(child, sent=True)
            fee = -20 * MILL if name == "BATS" else 0  # XNAS and DARK report none: the schedule has it
            journal.add_execution(
                Execution(
                    *(f"{name}-E1", child.order_id, "XNAS", "ALFA", "buy", cents * CENT, shares * NANOS),
                    *(OPEN_NS + NS_PER_S // 10, now_ns, name, fee, "removed"),
                ),
                "rule",
            )
    journal.close()


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory and a destinations file of this test's own."""
    file = tmp_path / "destinations.toml"
    file.write_text(FILE)
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TICKLOOM_EXECUTION_DESTINATIONS_FILE", str(file))
    monkeypatch.setenv("TICKLOOM_EXECUTION_VENUES", '["XNAS"]')
    return tmp_path


def run(bound: float) -> tuple[dg.AssetCheckEvaluation, dict[str, object]]:
    config = dg.RunConfig({"routing_regret": {"config": {"regret_bps_max": bound}}})
    done = dg.materialize([routing_regret], partition_key=DAY, run_config=config)
    (made,) = done.asset_materializations_for_node("routing_regret")
    (check,) = done.get_asset_check_evaluations()
    return check, {name: value.value for name, value in made.metadata.items()}


def test_a_days_regret_is_reckoned_from_journal_and_books(questdb: QuestDbSettings, data_dir: Path) -> None:
    """All in, 20 cost 100.009 at BATS, 10 cost 100.011 in the dark, 40 cost 100.023 at XNAS; displayed were
    20 for 100.009 and 50 for 100.023. So the dark saved 10 times 0.012, and the rest is as good as it gets:
    -0.12 of 7,001.10, -0.171 bps. The mid went from 100.01 to 100.11."""
    write_quotes(questdb)
    write_journal(data_dir)
    check, metadata = run(bound=-0.18)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    check, metadata = run(bound=-0.17)
    assert check.passed
    assert "3 executions cost -0.171 bps more" in (check.description or "")
    assert metadata["dagster/row_count"] == 3
    assert metadata["regret"] == pytest.approx(-0.12)
    wait_applied(questdb, ["routing_regret"])
    with QuestDbReader(questdb) as reader:
        rows = reader.query("SELECT * FROM routing_regret ORDER BY destination").to_pylist()
    assert [(row["destination"], row["style"]) for row in rows] == [
        ("BATS", "take"),
        ("DARK", "ping"),
        ("XNAS", "take"),
    ]
    bats, dark, xnas = rows
    assert bats["regret"] == pytest.approx(0.0)
    assert dark["regret"] == pytest.approx(-0.12)
    assert xnas["regret"] == pytest.approx(0.0)
    assert dark["arrival_regret_bps"] == pytest.approx(-0.12 / 1000.1 * 1e4)
    assert bats["saved"] == pytest.approx(20 * 0.014)
    assert xnas["fee"] == pytest.approx(0.12)
    assert dark["markout_1s_bps"] == pytest.approx(0.0, abs=1e-9)
    assert dark["markout_10s_bps"] == pytest.approx(0.10 / 100.01 * 1e4)
    assert (dark["decision"], dark["parent_id"]) == (0, client_order_id("S", 0))


def test_a_day_without_routed_orders_passes_and_one_without_a_journal_fails(
    questdb: QuestDbSettings, data_dir: Path
) -> None:
    """Nothing to regret; and the agent that never ran is named."""
    with pytest.raises(dg.Failure, match="has the agent run"):
        run(bound=1.0)
    Journal(journal_path(data_dir)).close()
    check, metadata = run(bound=1.0)
    assert check.passed
    assert check.description == "no order was routed"
    assert metadata["dagster/row_count"] == 0


def test_schedule_asks_for_the_day_before() -> None:
    """At a quarter past one in the morning of the 22nd, the 21st."""
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 22, 1, 15, tzinfo=UTC),
        repository_def=defs.get_repository_def(),
    )
    data = regret_yesterday.evaluate_tick(context)
    assert data.run_requests is not None
    assert [request.partition_key for request in data.run_requests] == ["2026-11-21"]


def test_quotes_that_no_ingester_stores_are_loaded_from_kafka(
    questdb: QuestDbSettings, kafka: KafkaSettings, data_dir: Path
) -> None:
    """Of a venue that is on Kafka only: the day's quotes and no others, once, whatever the partition; a side
    that is empty is NULL. A book that nobody published is none."""
    (data_dir / "destinations.toml").write_text(FILE.replace("BATS", "XQUO"))
    topics.ensure_topics([topics.ticks("XQUO")], kafka)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    symbols = SymbolTable(["ALFA"])
    for number, offset_ns in enumerate((0, NS_PER_S, -NS_PER_DAY, NS_PER_DAY)):
        ts = OPEN_NS + NS_PER_DAY + offset_ns
        ask = NO_PRICE if number == 1 else 100_01 * CENT
        rows = [(ts, ts, number + 1, 1, 100_00 * CENT, 5 * NANOS, ask, 7 * NANOS, 0)]
        block = EventBlock("XQUO", "20250604.Q", symbols, quotes=np.array(rows, dtype=QUOTE_DTYPE))
        batch = TickBatch(number % 2, number + 1, number + 1, ts, block)
        producer.produce(topics.ticks("XQUO"), encode(batch), partition=number % kafka.tick_partitions)
    assert producer.flush(30) == 0
    for loaded in (2, 0):
        done = dg.materialize([destination_quotes], partition_key="2025-06-04")
        (made,) = done.asset_materializations_for_node("destination_quotes")
        assert made.metadata["dagster/row_count"].value == loaded
        wait_applied(questdb, ["quotes"])
    with QuestDbReader(questdb) as reader:
        rows = reader.query("SELECT seq, bid_price, ask_price FROM quotes WHERE venue = 'XQUO' ORDER BY seq")
    assert rows.to_pylist() == [
        {"seq": 1, "bid_price": 100.0, "ask_price": 100.01},
        {"seq": 2, "bid_price": 100.0, "ask_price": None},
    ]
