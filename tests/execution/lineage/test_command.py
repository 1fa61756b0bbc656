"""``tickloom explain`` over a capture, a journal and a kept rule text, with no server anywhere; then with
QuestDB."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from execution.journal import Journal
from execution.lineage.records import journal_path
from execution.orders import OrderRecord
from ingest.capture import CaptureBatch, CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.feeds import decoder_for
from ingest.itch.moldudp64 import messages, parse
from ingest.synthetic.datagrams import Datagrams, pack
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import make_session
from ingest.synthetic.parameters import MarketParameters
from storage import QuestDbSink, schema
from storage.applied import wait_applied
from streaming import rules
from streaming.live import texts
from tickloom.cli import _mount, app
from tickloom.events import EventBlock, OrderState, Signal, source_seq
from tickloom.prices import NANOS
from tickloom.settings import QuestDbSettings

DAY = date(2025, 9, 16)
VENUE, SESSION = "XNAS", "20250916.TLSYN00001"
T0 = 1_795_306_980_000_000_000
RULE = """-- rule: lineage_probe
-- version: 7
-- venue: XNAS
-- about: a probe
-- parameter: least double 2.5 at least

SELECT symbol, 'buy' AS side, 1.0 AS strength, price AS ref_price, first_seq, last_seq
FROM trades MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY event_time, seq
  MEASURES A.seq AS first_seq, B.seq AS last_seq, B.price AS price
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B) DEFINE B AS B.price > :least
)
"""


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EventBlock]:
    """A data directory with two synthetic market seconds captured, and the events in it."""
    data_dir = tmp_path_factory.mktemp("lineage")
    session = make_session(MarketParameters(seed=7, duration_s=2.0, session_date=DAY, stocks_max=4))
    stream = itch_stream(session)
    datagrams, packing = Datagrams(stream, SESSION.partition(".")[2]), pack(stream, 2_000_000)
    path = session_path(data_dir, VENUE, SESSION)
    with CaptureWriter(path) as writer:
        for first, end in pairwise(packing.first.tolist()):
            writer.append(RecordKind.DATA, T0 + first, datagrams.build(first, end))
    with CaptureReader(path) as reader:
        records = [one for batch in reader.batches() for one in batch]
    batch = CaptureBatch.of([(one.kind, one.ts_recv, one.payload) for one in records])
    return data_dir, decoder_for(VENUE, SESSION).decode(batch)


@pytest.fixture
def asked(
    captured: tuple[Path, EventBlock], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[Path, Signal, EventBlock]:
    """An order on a signal over the second to the sixth trade of a stock; its rule's text was kept."""
    data_dir, block = captured
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(data_dir))
    symbol = int(block.trades["symbol"][0])
    trades = block.trades[block.trades["symbol"] == symbol]
    first, last = int(trades["seq"][1]), int(trades["seq"][5])
    name, ts = block.symbols.names[symbol], int(trades["ts_event"][5])
    signal = Signal("sig", "lineage_probe", "7", name, "buy", 1, 1, first, last, VENUE, ts, T0 + 1)
    path = tmp_path / "lineage_probe.sql"
    path.write_text(RULE)
    texts.keep(data_dir, rules.bind(rules.load(path)), T0)
    order = OrderRecord(
        *("EXPLAINAAAAAAAAAAAAA", "sig", 0, "lineage_probe", VENUE, name, "buy", NANOS, NANOS, "ioc"),
        *(OrderState.PENDING_NEW, T0 + 2, T0 + 2),
    )
    journal = Journal(journal_path(data_dir))
    if not journal.has_signal("sig"):
        with journal.transaction():
            journal.add_signal(signal, "accepted", "", T0 + 2)
            journal.add_order(order, sent=True)
    journal.close()
    return data_dir, signal, block


@pytest.fixture
def no_questdb(free_ports: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that lead to no server."""
    for name, port in zip(("HTTP", "PG", "HEALTH"), free_ports(3), strict=True):
        monkeypatch.setenv(f"TICKLOOM_QUESTDB_{name}_PORT", str(port))


def explain(*arguments: str) -> str:
    _mount("explain")
    done = CliRunner().invoke(app, ["explain", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def raw_message(data_dir: Path, seq: int) -> bytes:
    """The message of a seq by reading every packet of the capture in turn."""
    with CaptureReader(session_path(data_dir, VENUE, SESSION)) as reader:
        for batch in reader.batches():
            for record in batch:
                head = parse(record.payload)
                if head is not None and head.sequence <= source_seq(seq) < head.next_sequence:
                    return messages(record.payload)[source_seq(seq) - head.sequence]
    raise AssertionError(f"{seq} is not in the capture")


@pytest.mark.usefixtures("no_questdb")
def test_all_is_told_with_every_server_dead(asked: tuple[Path, Signal, EventBlock]) -> None:
    """Ticks are decoded again from the capture, and are those of the decoder; the bytes are the capture's."""
    data_dir, signal, block = asked
    found = json.loads(explain("EXPLAIN", "--json"))
    assert found["missing"] == [{"what": "risk verdict", "why": found["missing"][0]["why"]}]
    assert found["ticks"]["source"] == "capture"
    trades = block.trades[block.trades["symbol"] == block.symbols.index(signal.symbol)]
    inside = trades[(trades["seq"] >= signal.first_seq) & (trades["seq"] <= signal.last_seq)]
    assert found["ticks"]["counts"] == {"trades": len(inside)}
    assert [row["seq"] for row in found["ticks"]["rows"]] == inside["seq"].tolist()
    assert [row["part"] for row in found["ticks"]["rows"]] == [
        "first",
        "between",
        "between",
        "between",
        "last",
    ]
    assert [row["ts_event"] for row in found["ticks"]["rows"]] == inside["ts_event"].tolist()
    for packet in found["packets"]:
        assert bytes.fromhex(packet["message"]) == raw_message(data_dir, packet["seq"])
    assert {packet["seq"] for packet in found["packets"]} == set(inside["seq"].tolist())
    assert found["rule"]["source"] == "submitted"
    assert found["rule"]["text"] == RULE
    assert found["rule"]["parameters"] == {"": {"least": "2.5"}}
    assert found["rule"]["reads"] == ["trades"]


@pytest.mark.usefixtures("no_questdb")
def test_the_page_reads_from_the_order_down(asked: tuple[Path, Signal, EventBlock]) -> None:
    """Order, steps, signal, rule, ticks, packets; the bytes of the last message are on it."""
    data_dir, signal, _ = asked
    page = explain("EXPLAIN")
    titles = [line for line in page.splitlines() if line and not line.startswith(" ")]
    assert titles[0].startswith("Order EXPLAINAAAAAAAAAAAAA: pending_new")
    assert titles[1:] == ["Not known", "Steps", "Signal", "Rule", "Matched ticks", "Packets"]
    assert raw_message(data_dir, signal.last_seq)[:16].hex(" ") in page
    assert "| PATTERN" not in page.replace("  ", " ")
    assert "PATTERN (A B)" in explain("EXPLAIN", "--all")


def test_questdb_and_the_capture_tell_the_same(
    asked: tuple[Path, Signal, EventBlock], questdb: QuestDbSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored ticks are those that are decoded again, value by value."""
    _, _, block = asked
    schema.apply(questdb)
    sink = QuestDbSink(questdb)
    sink.write(block, 0, 0)
    sink.close()
    wait_applied(questdb, ["trades"])
    stored = json.loads(explain("EXPLAIN", "--json"))["ticks"]
    monkeypatch.setenv("TICKLOOM_QUESTDB_PG_PORT", "1")
    decoded = json.loads(explain("EXPLAIN", "--json"))["ticks"]
    assert (stored.pop("source"), decoded.pop("source")) == ("questdb", "capture")
    assert stored == decoded


@pytest.mark.usefixtures("no_questdb")
def test_a_capture_that_is_gone_is_said(asked: tuple[Path, Signal, EventBlock], tmp_path: Path) -> None:
    """With journal alone, order, risk and executions are told; the rest is listed with what to do."""
    data_dir, _, _ = asked
    only = tmp_path / "only" / "execution"
    only.mkdir(parents=True)
    for file in (data_dir / "execution").glob("journal.db*"):
        (only / file.name).write_bytes(file.read_bytes())
    found = json.loads(explain("EXPLAIN", "--json", "--data-dir", str(only.parent)))
    assert [one["what"] for one in found["missing"]] == [
        "rule text",
        "matched ticks",
        "captured packets",
        "risk verdict",
    ]
    assert found["ticks"] is None
    assert found["order"]["order_id"] == "EXPLAINAAAAAAAAAAAAA"


def test_the_schema_is_printed(asked: tuple[Path, Signal, EventBlock]) -> None:
    """JSON Schema, with every part named."""
    found = json.loads(explain("--schema"))
    assert {"Lineage", "PacketLine", "CheckLine", "RuleLine"} <= set(found["$defs"])
