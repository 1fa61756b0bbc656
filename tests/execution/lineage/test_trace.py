"""Lineage over journals that are written here, with sources that say what they are given."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from execution import service
from execution.journal import Journal
from execution.lineage import Lineage, Sources, Unavailable, trace
from execution.lineage.model import PacketLine, RuleLine, TickLine, Ticks
from execution.lineage.records import Records, journal_path
from execution.lineage.text import render
from execution.orders import OrderRecord
from execution.parents import Step
from execution.router import Decision, Slice
from tickloom.errors import JournalError
from tickloom.events import Execution, OrderState, Signal
from tickloom.instruments import Registry
from tickloom.prices import NANOS
from tickloom.records import replace

T0 = 1_795_306_980_000_000_000  # own clock
EVENT = 1_795_357_900_000_000_000  # the venue's: a replayed session
SIGNAL = Signal(
    *("s1", "probe", "2", "ALFA", "buy", 3.5, 100.25, 26112200000101, 26112200000109, "XNAS", EVENT, T0)
)
PAIR = msgspec.structs.replace(SIGNAL, signal_id="s2", symbol="ALFA~BRVO")
VERDICT = (
    b'{"revision": 4, "digest": "abc", "refused": ["position", "firm"], "checks": ['
    b'["order_entry", "firm", 0, 0, true], ["signal_age", "strategy", 1500000, 5000000000, true],'
    b'["position", "firm", 350000000000, 300000000000, false]]}'
)
RECORD = b'{"action": "sweep", "free": "300"}'
PARENT = OrderRecord(
    *("PARENTAAAAAAAAAAAAAA", "s1", 0, "probe", "XNAS", "ALFA", "buy", 300 * NANOS, 101 * NANOS, "ioc"),
    *(OrderState.PENDING_NEW, T0 + 2_000_000, T0 + 2_000_000),
)


def child(name: str, destination: str, quantity: int) -> OrderRecord:
    return replace(
        PARENT,
        order_id=name.ljust(20, "C"),
        leg=1,
        quantity=quantity * NANOS,
        parent_id=PARENT.order_id,
        destination=destination,
    )


def fill_of(order: OrderRecord, number: str, quantity: int, price: int, after_ms: int) -> Execution:
    return Execution(
        *(number, order.order_id, order.venue, order.symbol, order.side, price * NANOS, quantity * NANOS),
        *(EVENT + after_ms * 1_000_000, T0 + after_ms * 1_000_000, order.sent_to, 3 * NANOS, "removed"),
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A parent with two children at two destinations, one filled, after an older position of 50 short."""
    found = Journal(journal_path(tmp_path))
    before = replace(
        PARENT, order_id="BEFOREAAAAAAAAAAAAAA", signal_id="s0", side="sell", quantity=50 * NANOS
    )
    one, two = child("ONE", "XBOS", 200), child("TWO", "DARK", 100)
    with found.transaction():
        found.add_order(before, sent=True)
        found.add_execution(fill_of(before, "E0", 50, 99, -900), "probe")
        found.add_signal(SIGNAL, "accepted", "", T0 + 1_000_000)
        found.add_order(PARENT, sent=False)
        found.set_verdict(PARENT.order_id, PARENT.ts, VERDICT)
        step = Step(
            PARENT, Decision([Slice("XBOS", 200 * NANOS, 101 * NANOS)], why="best price", record=RECORD)
        )
        step.sent.append(one)
        step.refused.append((two, "lot: 1, limit 0"))
        found.add_route(PARENT.order_id, T0 + 2_500_000, step.record())
        again = Step(PARENT, Decision(cancel=[two.order_id], done=True, why="enough"))
        found.add_route(PARENT.order_id, T0 + 4_500_000, again.record())
        found.add_order(one, sent=True)
        found.set_verdict(one.order_id, one.ts, VERDICT)
        found.add_order(two, sent=True)
        one = replace(one, state=OrderState.NEW, ts=T0 + 5_000_000, revision=1, venue_order_id="V-77")
        found.update_order(one)
        filled = {"filled_quantity": 200 * NANOS, "filled_value": 200 * NANOS * 100 * NANOS}
        found.update_order(replace(one, state=OrderState.FILLED, ts=T0 + 9_000_000, revision=2, **filled))
        found.add_execution(fill_of(one, "E1", 120, 100, 8), "probe")
        found.add_execution(fill_of(one, "E2", 80, 100, 9), "probe")
    yield found
    found.close()


def ask(data_dir: Path, what: str, sources: Sources | None = None) -> Lineage:
    with Records(journal_path(data_dir)) as records:
        return trace(records, what, Registry.load(), sources or Sources())


@pytest.mark.parametrize("what", ["ONECCCCCCCCCCCCCCCCC", "onecccc", "V-77", "E1", "E2"])
def test_an_order_is_found_by_any_of_its_ids(journal: Journal, tmp_path: Path, what: str) -> None:
    """Its own id, the beginning of it, the venue's, an execution's."""
    assert ask(tmp_path, what).order.order_id == "ONECCCCCCCCCCCCCCCCC"


def test_what_means_nothing_or_too_much_is_refused(journal: Journal, tmp_path: Path) -> None:
    """An unknown id says where to look; one execution id at two destinations lists the orders."""
    with pytest.raises(JournalError, match="no order, venue order or execution NOPE"):
        ask(tmp_path, "NOPE")
    with journal.transaction():
        journal.add_execution(fill_of(child("TWO", "DARK", 100), "E1", 10, 100, 9), "probe")
    with pytest.raises(JournalError, match=r"several destinations; give one of ONEC.*, TWOC"):
        ask(tmp_path, "E1")


def test_a_child_leads_to_parent_siblings_router_and_verdicts(journal: Journal, tmp_path: Path) -> None:
    """The decision as the agent journals it: which orders it made, and the router's own record as JSON inside
    the JSON. Each check has value, limit and outcome."""
    found = ask(tmp_path, "V-77")
    assert found.parent is not None
    assert found.parent.order_id == PARENT.order_id
    assert [(one.destination, one.quantity) for one in found.children] == [("XBOS", "200"), ("DARK", "100")]
    route, last = found.routes
    assert (last.done, last.cancel) == (True, ["TWOCCCCCCCCCCCCCCCCC"])
    assert (route.why, route.record) == ("best price", {"action": "sweep", "free": "300"})
    assert [(one.order_id[:3], one.refused) for one in route.made] == [
        ("ONE", ""),
        ("TWO", "lot: 1, limit 0"),
    ]
    page = render(found)
    assert "made ONECCCCCCCCCCCCCCCCC (this order)" in page
    assert "made TWOCCCCCCCCCCCCCCCCC, refused: lot: 1, limit 0" in page
    assert "and 1 more decisions over its parent" in page
    assert "took back TWOCCCCCCCCCCCCCCCCC (this order)" in render(ask(tmp_path, "TWOCCC"))
    assert found.verdict is not None
    assert found.verdict.refused == ["position", "firm"]
    shown = [(one.check, one.passed, one.shown) for one in found.verdict.checks]
    assert shown == [
        ("order_entry", True, "0 of 0"),
        ("signal_age", True, "1.5 ms of 5000 ms"),
        ("position", False, "350 of 300"),
    ]
    assert (found.order.destination, found.order.venue) == ("XBOS", "XNAS")


def test_steps_have_their_clocks_and_latencies(journal: Journal, tmp_path: Path) -> None:
    """By arithmetic: fired at 0, journaled at 1 ms, sent at 2, acknowledged at 5, filled at 9; the venue's
    clock is hours away and is never mixed in."""
    own = [one for one in ask(tmp_path, "V-77").steps if one.clock == "own"]
    assert [(one.name, (one.ts - T0) / 1e6, one.after_ns) for one in own] == [
        ("signal", 0.0, None),
        ("journaled", 1.0, 1_000_000),
        ("verdict", 2.0, 1_000_000),
        ("sent", 2.0, 0),
        ("acknowledged", 5.0, 3_000_000),
        ("state", 9.0, 4_000_000),
    ]
    venue = [one for one in ask(tmp_path, "V-77").steps if one.clock == "venue"]
    assert [(one.name, one.after_ns) for one in venue] == [
        ("match", None),
        ("execution", 8_000_000),
        ("execution", 1_000_000),
    ]


def test_a_reason_is_told_where_it_came_up(journal: Journal, tmp_path: Path) -> None:
    """An order keeps its last reason; that it was unknown once is no reason why it is filled."""
    base = replace(PARENT, order_id="LATEAAAAAAAAAAAAAAAA", signal_id="s9")
    lost = replace(base, state=OrderState.UNKNOWN, reason="no answer", revision=1, ts=T0 + 5_000_000)
    with journal.transaction():
        journal.add_order(base, sent=True)
        journal.update_order(lost)
        journal.update_order(replace(lost, state=OrderState.NEW, revision=2, ts=T0 + 6_000_000))
    found = ask(tmp_path, "LATEAA")
    assert [one.text for one in found.steps] == ["pending_new", "unknown: no answer", "new"]
    assert render(found).splitlines()[0] == "Order LATEAAAAAAAAAAAAAAAA: new"
    with journal.transaction():
        journal.update_order(replace(lost, state=OrderState.CANCELLED, revision=3, ts=T0 + 7_000_000))
    assert render(ask(tmp_path, "LATEAA")).splitlines()[0].endswith(": cancelled (no answer)")


def test_position_is_the_firms_before_and_after(journal: Journal, tmp_path: Path) -> None:
    """50 short at 99; 200 bought at 100 cover it for a loss of 50 and leave 150 long at 100."""
    held = ask(tmp_path, "V-77").position
    assert held is not None
    assert (held.before, held.after, held.average_price, held.realised) == ("-50", "150", "100", "-50")


def test_a_parent_has_its_childrens_executions(journal: Journal, tmp_path: Path) -> None:
    """Asked for the parent, all that was traded for it comes."""
    found = ask(tmp_path, PARENT.order_id)
    assert found.parent is None
    assert [one.execution_id for one in found.executions] == ["E1", "E2"]
    assert [(one.fee, one.liquidity) for one in found.executions] == [("3", "removed")] * 2
    assert render(found).startswith("Parent order PARENTAAAAAAAAAAAAAA")


def test_busts_and_corrections_show_what_stands(journal: Journal, tmp_path: Path) -> None:
    """A corrected execution has its new price and says so, a busted one has nothing, and the position is
    what is left: 50 short, and 80 bought at 98 instead of 100."""
    with journal.transaction():
        journal.change_execution(T0 + 1, "XBOS", "E1", 0, 0, "error trade")
        journal.change_execution(T0 + 2, "XBOS", "E2", 80 * NANOS, 98 * NANOS, "price")
    found = ask(tmp_path, "V-77")
    assert [(one.quantity, one.price, one.changed) for one in found.executions] == [
        ("0", "100", "bust"),
        ("80", "98", "correction"),
    ]
    assert found.position is not None
    assert (found.position.after, found.position.average_price) == ("30", "98")


class Asked:
    """A source of everything, that keeps what it was asked; or has nothing."""

    def __init__(self, why: str = "") -> None:
        self.why = why
        self.asked: list[tuple[object, ...]] = []

    def _note(self, *what: object) -> None:
        self.asked.append(what)
        if self.why:
            raise Unavailable(self.why)

    def rule(self, name: str, version: str, ts_signal: int) -> RuleLine:
        self._note(name, version, ts_signal)
        return RuleLine(
            name, version, "about it", "submitted", "ff", "SELECT", {"": {"a": "1"}}, {}, ["trades"]
        )

    def ticks(
        self, venue: str, symbols: Sequence[str], tables: Sequence[str], first_seq: int, last_seq: int
    ) -> Ticks:
        self._note(venue, tuple(symbols), tuple(tables), first_seq, last_seq)
        row = TickLine("trades", "S", "ALFA", last_seq, EVENT - 5, T0 - 7_000_000, "last", {"price": "1"})
        return Ticks("questdb", {"trades": 1}, [row])

    def packets(self, venue: str, session: str, seqs: Sequence[int]) -> list[PacketLine]:
        self._note(venue, session, tuple(seqs))
        return []


def test_sources_are_asked_for_what_matched(journal: Journal, tmp_path: Path) -> None:
    """The views that the rule reads, the instrument, the rows; packets of the session that the rows are
    of."""
    rule, ticks, packets = Asked(), Asked(), Asked()
    found = ask(tmp_path, "V-77", Sources([rule], [ticks], [packets]))
    first, last = SIGNAL.first_seq, SIGNAL.last_seq
    assert rule.asked == [("probe", "2", T0)]
    assert ticks.asked == [("XNAS", ("ALFA",), ("trades",), first, last)]
    assert packets.asked == [("XNAS", "S", (first, last))]
    own = [one for one in found.steps if one.clock == "own"]
    assert (own[0].name, own[1].after_ns) == ("received", 7_000_000)
    assert found.missing == []


def test_a_pairs_signal_leads_to_both_legs_quotes(journal: Journal, tmp_path: Path) -> None:
    """The spread is computed from them and has their seq: asked are quotes of both and the spread itself."""
    with journal.transaction():
        journal.add_signal(PAIR, "accepted", "", T0)
        journal.add_order(replace(PARENT, order_id="PAIRAAAAAAAAAAAAAAAA", signal_id="s2"), sent=True)
    ticks = Asked()
    ask(tmp_path, "PAIRAAAAAAAAAAAAAAAA", Sources([Asked()], [ticks]))
    assert ticks.asked[0][1:3] == (("ALFA", "BRVO", "ALFA~BRVO"), ("quotes", "spreads"))


def test_what_cannot_be_told_is_listed_with_the_reason(journal: Journal, tmp_path: Path) -> None:
    """The first source that can tell is believed; if none can, the last one's reason stands."""
    gone, good = Asked("QuestDB is away"), Asked()
    found = ask(tmp_path, "V-77", Sources([good], [gone, good], [gone]))
    assert found.ticks is not None
    assert [(one.what, one.why) for one in found.missing] == [("captured packets", "QuestDB is away")]
    assert "captured packets  QuestDB is away" in render(found)


def test_a_slice_of_a_breach_plan_leads_to_the_breach(journal: Journal, tmp_path: Path) -> None:
    """It has no signal: what the plan did before it says why it was made, and nothing later."""
    slice_ts = T0 + 60_000_000_000
    order = replace(
        PARENT,
        order_id="SLICEAAAAAAAAAAAAAAA",
        signal_id=f"unwind|probe|XNAS|ALFA|{slice_ts}",
        ts_created=slice_ts,
        ts=slice_ts,
    )
    with journal.transaction():
        journal.risk_action(slice_ts - 2, "unwinding_declared", "agent", "loss of probe, 1: declared")
        journal.risk_action(slice_ts - 1, "limits", "anna", "unrelated")
        journal.risk_action(slice_ts, "unwinding_slice", "agent", "loss of probe, 2: flat")
        journal.risk_action(slice_ts + 1, "unwinding_stage", "agent", "later")
        journal.add_order(order, sent=True)
    found = ask(tmp_path, "SLICEAAAAAAAAAAAAAAA")
    assert [one.why for one in found.actions] == ["loss of probe, 1: declared", "loss of probe, 2: flat"]
    assert found.signal is None
    assert "Breach plan" in render(found)


def test_json_is_what_its_schema_says(journal: Journal, tmp_path: Path) -> None:
    """Read back by the types the schema is made of, it is the same; prices are texts, not doubles."""
    found = ask(tmp_path, "V-77", Sources([Asked()], [Asked()]))
    raw = msgspec.json.encode(found)
    assert msgspec.json.decode(raw, type=Lineage) == found
    plain = msgspec.json.decode(raw)
    assert plain["schema_version"] == 1
    assert plain["order"]["limit_price"] == "101"
    assert set(plain) == set(msgspec.json.schema(Lineage)["$defs"]["Lineage"]["properties"])


def test_a_journal_of_before_routers_is_explained_too(tmp_path: Path) -> None:
    """Columns and tables that came later are filled with what they would have held."""
    path = journal_path(tmp_path)
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.executescript(
        """
        CREATE TABLE signals (signal_id TEXT PRIMARY KEY, ts INTEGER, payload TEXT);
        CREATE TABLE orders (order_id TEXT PRIMARY KEY, signal_id TEXT, leg INTEGER, rule TEXT, venue TEXT,
            symbol TEXT, side TEXT, quantity INTEGER, limit_price INTEGER, time_in_force TEXT, state TEXT,
            ts_created INTEGER, ts INTEGER, filled_quantity INTEGER, filled_value TEXT, venue_order_id TEXT,
            reason TEXT, revision INTEGER, sent INTEGER);
        CREATE TABLE order_revisions (order_id TEXT, revision INTEGER, state TEXT, filled_quantity INTEGER,
            reason TEXT, ts INTEGER);
        CREATE TABLE executions (number INTEGER PRIMARY KEY, venue TEXT, execution_id TEXT, order_id TEXT,
            rule TEXT, symbol TEXT, side TEXT, price INTEGER, quantity INTEGER, ts INTEGER, ts_recv INTEGER);
        INSERT INTO orders VALUES ('OLD', 's', 0, 'r', 'XNAS', 'ALFA', 'buy', 1000000000, 5000000000, 'ioc',
            'filled', 1, 2, 1000000000, '5000000000000000000', 'V', '', 1, 1);
        INSERT INTO executions VALUES
            (1, 'XNAS', 'E', 'OLD', 'r', 'ALFA', 'buy', 5000000000, 1000000000, 1, 2);
        """
    )
    db.close()
    found = ask(tmp_path, "OLD")
    order = found.order
    assert (order.order_type, order.destination, order.average_price) == ("limit", "XNAS", "5")
    assert (found.executions[0].destination, found.executions[0].fee) == ("XNAS", "0")
    assert [one.what for one in found.missing] == ["risk verdict"]


def test_the_journal_is_where_the_agent_keeps_it(tmp_path: Path) -> None:
    """Two modules name the path, because one of them starts half the agent."""
    assert journal_path(tmp_path) == service.journal_path(tmp_path)
    with pytest.raises(JournalError, match="has the agent run"):
        Records(journal_path(tmp_path))
