"""Loads and reconciliations as real Dagster runs over real servers and a synthetic capture."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import pairwise
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from ingest.capture import CaptureWriter, RecordKind, session_path
from ingest.feeds import decoder_for
from ingest.kafka_sink import KafkaSink
from ingest.pipeline import load_capture
from ingest.synthetic.datagrams import Datagrams, pack
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import make_session
from ingest.synthetic.parameters import MarketParameters
from orchestration.counts import Counts, differences
from orchestration.defs.history.assets import historical_ticks
from orchestration.defs.reconciliation.assets import tick_counts
from storage import schema
from storage.applied import wait_applied
from storage.reader import count_by_symbol
from tickloom.settings import ItchSettings, KafkaSettings, QuestDbSettings, StackSettings

DAY = date(2025, 3, 3)
VENUE = "XNAS"
SESSION = "20250303.TLSYN00001"
PARTITION = dg.MultiPartitionKey({"date": DAY.isoformat(), "venue": VENUE})


@pytest.fixture(scope="module")
def captured(questdb: QuestDbSettings, kafka: KafkaSettings) -> Path:
    """A capture of four synthetic market seconds, published to Kafka; QuestDB has nothing of it yet."""
    schema.apply(questdb)
    session = make_session(MarketParameters(seed=7, duration_s=4.0, session_date=DAY, stocks_max=6))
    stream = itch_stream(session)
    datagrams, packing = Datagrams(stream, SESSION.partition(".")[2]), pack(stream, 2_000_000)
    path = session_path(StackSettings.load().data_dir, VENUE, SESSION)
    with CaptureWriter(path) as writer:
        for first, end in pairwise(packing.first.tolist()):
            writer.append(RecordKind.DATA, session.parameters.open_ns, datagrams.build(first, end))
        writer.append(RecordKind.DATA, session.parameters.open_ns, datagrams.end_of_session())
    sink = KafkaSink(kafka, ItchSettings.load(), VENUE)
    for _ in load_capture(path, decoder_for(VENUE, SESSION), [sink]):
        pass
    sink.close()
    return path


def materialize(asset: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset], partition_key=PARTITION)


def test_reconciliation_of_a_loaded_day(captured: Path, questdb: QuestDbSettings) -> None:
    """Before the load the check fails and names symbol and counts; after it, and after a second load
    that changes nothing, it passes; when rows are lost from QuestDB it fails again and a load mends it."""
    before = _check(materialize(tick_counts))
    assert not before.passed
    assert "symbol ALFA" in (before.description or "")
    assert "questdb 0" in (before.description or "")

    loaded = materialize(historical_ticks)
    rows = count_by_symbol(questdb, "quotes", VENUE, SESSION)
    assert sum(rows.values()) > 500
    metadata = loaded.asset_materializations_for_node("historical_ticks")[0].metadata
    assert metadata["events_quotes"].value == sum(rows.values())

    materialize(historical_ticks)
    assert count_by_symbol(questdb, "quotes", VENUE, SESSION) == rows
    assert _check(materialize(tick_counts)).passed

    _lose_quotes(questdb, "ALFA")
    after = _check(materialize(tick_counts))
    assert not after.passed
    assert "symbol ALFA" in (after.description or "")
    materialize(historical_ticks)
    assert _check(materialize(tick_counts)).passed


def test_a_day_without_capture_fails_and_says_what_to_do() -> None:
    """Loading a day that was never captured ends with the command that would bring one."""
    key = dg.MultiPartitionKey({"date": "2025-03-04", "venue": VENUE})
    with pytest.raises(dg.Failure, match="tickloom ingest file"):
        dg.materialize([historical_ticks], partition_key=key)


def test_differences_name_symbol_and_counts() -> None:
    """Only rows on which the places disagree are listed, with the number in each place."""
    places: dict[str, Counts] = {
        "capture": Counter({("trades", "A"): 3, ("quotes", "A"): 5}),
        "kafka": Counter({("trades", "A"): 3, ("quotes", "A"): 5}),
        "questdb": Counter({("trades", "A"): 2, ("quotes", "A"): 5}),
    }
    assert differences(places) == [{"table": "trades", "symbol": "A", "capture": 3, "kafka": 3, "questdb": 2}]


def _check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def _lose_quotes(questdb: QuestDbSettings, symbol: str) -> None:
    """QuestDB has no DELETE: the day's partition is dropped and the other rows are put back."""
    with psycopg.connect(questdb.dsn, autocommit=True) as connection:
        keep = f"SELECT * FROM quotes WHERE ts IN '{DAY}' AND symbol <> '{symbol}'"
        connection.execute(f"CREATE TABLE kept AS ({keep})")
        connection.execute(f"ALTER TABLE quotes DROP PARTITION LIST '{DAY}'")
        wait_applied(questdb, ["quotes"])
        connection.execute("INSERT INTO quotes SELECT * FROM kept")
        connection.execute("DROP TABLE kept")
    wait_applied(questdb, ["quotes"])
