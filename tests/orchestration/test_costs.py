"""Costs of a day over a real QuestDB: the asset, its tables and views, the report, and the command."""

from __future__ import annotations

import html.parser
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from execution.journal import Journal
from execution.lineage.records import Records, journal_path
from execution.orders import OrderRecord
from orchestration.defs.costs.assets import order_costs
from orchestration.tca import groups, report
from orchestration.tca.day import Models, costs_of_day
from orchestration.tca.terms import DayCosts
from storage import QuestDbReader, QuestDbSink, schema
from storage.applied import wait_applied
from tests.orchestration.tca.market import OWN, T0, S, nanos, quotes_of, trades_of
from tickloom.cli import _mount, app
from tickloom.events import EventBlock, Execution, OrderState, Signal, SymbolTable
from tickloom.instruments import Registry
from tickloom.prices import NANOS
from tickloom.records import replace
from tickloom.settings import QuestDbSettings

DAY, VENUE = "2025-09-15", "XNAS"
PARTITION = dg.MultiPartitionKey({"date": DAY, "venue": VENUE})
#: A mid that rises by a cent a second, two cents wide, for ten minutes; and a trade a second at it.
QUOTES = [(s, f"{100 + s * 0.01 - 0.01:.2f}", f"{100 + s * 0.01 + 0.01:.2f}") for s in range(600)]
TRADES = [(s + 0.5, f"{100 + s * 0.01:.2f}", 100) for s in range(600)]
ORDER = OrderRecord(
    *("ALPHAAAAAAAAAAAAAAAA", "s1", 0, "probe", VENUE, "ALFA", "buy", 100 * NANOS, 101 * NANOS, "ioc"),
    *(OrderState.FILLED, T0 + OWN + 11 * S, T0 + OWN + 13 * S),
)


@pytest.fixture(scope="module")
def market(questdb: QuestDbSettings) -> QuestDbSettings:
    """The day's quotes and trades of one stock, stored."""
    schema.apply(questdb)
    symbols = SymbolTable(["ALFA"])
    block = EventBlock(VENUE, "20250915.COSTS", symbols, trades_of(TRADES), quotes_of(QUOTES))
    sink = QuestDbSink(questdb)
    sink.write(block, 0, 0)
    sink.close()
    wait_applied(questdb, ["quotes", "trades"])
    return questdb


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """Bought 100 on a signal of second 10 (mid 100.10), sent in second 11 (100.11): 60 in second 12 at 100.14
    on XNAS, 40 in second 13 at the mid of 100.13 in the dark. And a sale of 50 in second 500, all on XNAS."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    found = Journal(journal_path(tmp_path))
    sale_ts = T0 + OWN + 500 * S + 2_000_000
    sale = replace(ORDER, order_id="BRAVOAAAAAAAAAAAAAAA", signal_id="s2", rule="other", side="sell")
    sale = replace(sale, quantity=50 * NANOS, ts_created=sale_ts, ts=sale_ts + S)
    order = replace(ORDER, ts_created=ORDER.ts_created + 2_000_000)
    with found.transaction():
        for signal_id, second in (("s1", 10), ("s2", 500)):
            ts = T0 + second * S
            signal = Signal(signal_id, "probe", "1", "ALFA", "buy", 1, 1, 1, 2, VENUE, ts, ts + OWN)
            found.add_signal(signal, "accepted", "", ts + OWN)
        found.add_order(order, sent=False)
        for number, (destination, second, quantity, price, fee) in enumerate(
            [("XNAS", 12, 60, "100.14", "0.18"), ("DARK", 13, 40, "100.13", "0.02")]
        ):
            child = replace(
                order, order_id=f"CHILD{number}", parent_id=order.order_id, destination=destination
            )
            found.add_order(child, sent=True)
            found.add_execution(_fill(child, f"E{number}", second, quantity, price, fee), "probe")
        found.add_order(sale, sent=True)
        found.add_execution(_fill(sale, "E9", 501, 50, "105.00", "0.15"), "other")
    yield found
    found.close()


def _fill(order: OrderRecord, number: str, second: int, quantity: int, price: str, fee: str) -> Execution:
    ts = T0 + second * S
    return Execution(
        *(number, order.order_id, order.venue, order.symbol, order.side, nanos(price), quantity * NANOS),
        *(ts, ts + OWN, order.sent_to, nanos(fee), "removed"),
    )


def costs(journal: Journal, questdb: QuestDbSettings) -> DayCosts:
    with Records(journal.path) as records, QuestDbReader(questdb) as reader:
        return costs_of_day(records, reader, Registry.load(), VENUE, DAY, Models())


def materialize() -> dg.ExecuteInProcessResult:
    return dg.materialize([order_costs], partition_key=PARTITION)


def test_a_days_costs_stand_in_the_tables(journal: Journal, market: QuestDbSettings) -> None:
    """On paper, the purchase: delay 100 * 0.01, market 60 * 0.01 + 40 * 0.02, spread 60 * 0.02, fees 0.20:
    3.80. The sale: delay 0, market -50 * 0.01, spread 50 * 0.01, fees 0.15. Doing it again changes
    nothing."""
    done = materialize()
    (check,) = done.get_asset_check_evaluations()
    assert check.passed, check.description
    materialize()
    with QuestDbReader(market) as reader:
        rows = reader.query(
            "SELECT order_id, delay, market, spread, opportunity, fees, shortfall, notional FROM order_costs "
            f"WHERE ts IN '{DAY}' ORDER BY ts"
        ).to_pylist()
        views = reader.query(f"SELECT rule, orders, shortfall_bps FROM costs_by_rule WHERE day = '{DAY}'")
        places = reader.query(
            f"SELECT destination, executions, fees FROM costs_by_destination WHERE day = '{DAY}'"
        ).to_pylist()
    assert [row.pop("order_id") for row in rows] == ["ALPHAAAAAAAAAAAAAAAA", "BRAVOAAAAAAAAAAAAAAA"]
    expected = [[1.0, 1.4, 1.2, 0.0, 0.2, 3.8, 10_010.0], [0.0, -0.5, 0.5, 0.0, 0.15, 0.15, 5_250.0]]
    for row, values in zip(rows, expected, strict=True):
        assert list(row.values()) == pytest.approx(values)
    by_rule = {row["rule"]: (row["orders"], row["shortfall_bps"]) for row in views.to_pylist()}
    assert by_rule["probe"] == (1, pytest.approx(3.8 / 10_010 * 1e4))
    assert by_rule["other"] == (1, pytest.approx(0.15 / 5_250 * 1e4))
    assert {(row["destination"], row["executions"]) for row in places} == {("XNAS", 2), ("DARK", 1)}


def test_markouts_agree_with_questdbs_own(journal: Journal, market: QuestDbSettings) -> None:
    """A HORIZON JOIN over the stored quotes, by the server, gives what the report has, at every horizon that
    is not behind the day's end."""
    materialize()
    found = costs(journal, market)
    with QuestDbReader(market) as reader:
        rows = reader.query(f"SELECT * FROM execution_markouts WHERE day = '{DAY}'").to_pylist()
    theirs = {(row["destination"], row["rule"], row["horizon_s"]): row["markout_bps"] for row in rows}
    compared = 0
    for order in found.orders:
        for group in groups.by_destination([order]):
            for horizon, ours in group.markouts_bps.items():
                if ours is not None:
                    assert ours == pytest.approx(theirs[group.name, order.parent.rule, horizon]), (
                        group,
                        horizon,
                    )
                    compared += 1
    # two destinations of the purchase at four horizons; the sale in second 501 has three before second 599
    assert compared == 4 + 4 + 3


def test_the_page_needs_nothing_else(journal: Journal, market: QuestDbSettings) -> None:
    """Well-formed, no script, nothing loaded from anywhere; rules, destinations and orders are on it."""
    materialize()
    data_dir = journal.path.parent.parent
    page = (data_dir / "costs" / f"{DAY}.{VENUE}.html").read_text()
    _Balanced().check(page)
    assert not any(word in page for word in ("<script", "http", "src=", "@import", "url("))
    assert all(word in page for word in ("probe", "DARK", "ALPHAAAAAAAAAAAAAAAA", "America/New_York", "<svg"))


def test_names_cannot_break_the_page(journal: Journal, market: QuestDbSettings) -> None:
    """A rule or destination with markup in its name is text."""
    found = costs(journal, market)
    found.orders = [replace(one, parent=replace(one.parent, rule='<b title="x">&')) for one in found.orders]
    page = report.render(found)
    _Balanced().check(page)
    assert "<b title" not in page
    assert "&lt;b title=&quot;x&quot;&gt;&amp;" in page


def test_an_order_without_a_market_warns_and_is_named(journal: Journal, market: QuestDbSettings) -> None:
    """Nothing is made up for an instrument that nobody quoted; the others are costed."""
    with journal.transaction():
        lost = replace(ORDER, order_id="LOSTAAAAAAAAAAAAAAAA", symbol="BRVO", ts_created=ORDER.ts_created + 5)
        journal.add_order(lost, sent=True)
    (check,) = materialize().get_asset_check_evaluations()
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "LOSTAAAAAAAAAAAAAAAA" in (check.description or "")


def test_without_a_journal_the_run_says_so(
    market: QuestDbSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that never ran has no costs."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    with pytest.raises(dg.Failure, match="has the agent run"):
        materialize()


def test_the_command_prints_sums_and_writes_the_page(
    journal: Journal, market: QuestDbSettings, tmp_path: Path
) -> None:
    """A row a rule and destination, in basis points; the page where it was asked for."""
    _mount(None)
    page = tmp_path / "costs.html"
    done = CliRunner().invoke(app, ["costs", "--date", DAY, "--html", str(page)])
    assert done.exit_code == 0, done.output
    lines = {line.split()[0]: line.split() for line in done.output.splitlines() if line.split()}
    assert lines["probe"][1:] == ["1", "10,010", "3.80", "3.80", "1.00", "1.40", "1.20", "0.00", "0.20"]
    assert lines["DARK"][1] == "1"
    assert page.read_text().startswith("<!doctype html>")


class _Balanced(html.parser.HTMLParser):
    """Each element that is opened is closed, in its place."""

    VOID = frozenset({"meta", "line", "rect", "circle", "polyline"})

    def check(self, page: str) -> None:
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID
