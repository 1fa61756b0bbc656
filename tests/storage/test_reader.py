"""The reader: right types, right order, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from storage import QuestDbReader, QuestDbSink, wait_applied
from storage.columns import LAYOUTS
from storage.connection import Connection
from storage.reader import bind
from tickloom.errors import ServiceError, StorageError
from tickloom.events import EventBlock, SymbolTable
from tickloom.settings import QuestDbSettings

MakeBlock = Callable[..., EventBlock]
PlainRows = Callable[[list[EventBlock], str], list[tuple[object, ...]]]
KINDS = tuple(LAYOUTS)

NS = pa.timestamp("ns", "UTC")
US = pa.timestamp("us", "UTC")
EVERY_TYPE = """
CREATE TABLE IF NOT EXISTS every_type (
    ts TIMESTAMP_NS, t TIMESTAMP, d DATE, b BOOLEAN, i INT, l LONG, s SHORT, f FLOAT, x DOUBLE,
    sym SYMBOL, str STRING, v VARCHAR, u UUID, ip IPv4
) TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL
"""
EVERY_VALUE = """
INSERT INTO every_type VALUES (
    1795180500123456789, 1795180500123456, 1795180500123, true, -7, 9007199254740993, 12, 0.5,
    9007198.123456789, 'AA', 'text', 'longer than what is inlined, "quoted"',
    '11111111-2222-3333-4444-555555555555', '10.0.0.1'
)
"""


@pytest.fixture(scope="module")
def every_type(tables: QuestDbSettings) -> None:
    """A table with a row of values, a row of NULLs and a row of empty texts."""
    with Connection(tables) as connection:
        connection.fetch(EVERY_TYPE)
        connection.fetch("TRUNCATE TABLE every_type")
        connection.fetch(EVERY_VALUE)
        connection.fetch("INSERT INTO every_type (ts) VALUES (1795180500123456790)")
        connection.fetch("INSERT INTO every_type (ts, sym, str, v) VALUES (1795180500123456791, '', '', '')")


@pytest.mark.usefixtures("every_type")
def test_every_type_arrives_as_what_it_is(reader: QuestDbReader) -> None:
    """Types, nanoseconds, 64-bit integers, doubles and NULLs survive; NULL and '' stay different."""
    table = reader.query("SELECT * FROM every_type")
    types = {field.name: field.type for field in table.schema}
    assert types == {
        "ts": NS,
        "t": US,
        "d": pa.timestamp("ms", "UTC"),
        "b": pa.bool_(),
        "i": pa.int32(),
        "l": pa.int64(),
        "s": pa.int16(),
        "f": pa.float32(),
        "x": pa.float64(),
        "sym": pa.string(),
        "str": pa.string(),
        "v": pa.string(),
        "u": pa.string(),
        "ip": pa.string(),
    }
    assert table["ts"].cast(pa.int64()).to_pylist() == [1795180500123456789 + step for step in range(3)]
    assert table["t"].cast(pa.int64()).to_pylist() == [1795180500123456, None, None]
    assert table["l"].to_pylist() == [9007199254740993, None, None]
    assert table["x"].to_pylist() == [9007198.123456789, None, None]
    assert table["sym"].to_pylist() == ["AA", None, ""]
    assert table["str"].to_pylist() == ["text", None, ""]
    assert table["v"].to_pylist() == ['longer than what is inlined, "quoted"', None, ""]
    assert table["u"].to_pylist()[0] == "11111111-2222-3333-4444-555555555555"
    assert table["ip"].to_pylist()[0] == "10.0.0.1"


@pytest.mark.usefixtures("every_type")
def test_both_ways_of_transfer_agree(reader: QuestDbReader) -> None:
    """A result without VARCHAR travels as Parquet, one with a limit as CSV: equal, types included."""
    sql = "SELECT ts, t, d, b, i, l, s, f, x, sym, str FROM every_type"
    assert reader.query(sql).equals(reader.query(sql, limit=1_000).cast(reader.query(sql).schema))


@pytest.mark.usefixtures("every_type")
def test_results_without_rows_keep_their_types(reader: QuestDbReader) -> None:
    """Nothing found is a table with columns and no rows, whichever way it travels."""
    for columns in ("ts, x, sym", "ts, x, v"):
        table = reader.query(f"SELECT {columns} FROM every_type WHERE i = 12345")
        assert table.num_rows == 0
        assert (table.schema[0].type, table.schema[1].type) == (NS, pa.float64())


def test_parameters_are_values_and_not_sql(reader: QuestDbReader) -> None:
    """Quotes and percent signs in a parameter are text; their number is checked."""
    table = reader.query("SELECT %s AS a, %s AS b, %s AS c, 7 %% 4 AS d", ["it's; -- '", 2**40, None])
    assert table.to_pylist() == [{"a": "it's; -- '", "b": 2**40, "c": None, "d": 3}]
    assert bind("SELECT '%'", []) == "SELECT '%'"
    with pytest.raises(StorageError, match="for each of the 1 parameters"):
        bind("SELECT %s, %s", [1])


def test_statement_without_rows_answers_an_empty_table(reader: QuestDbReader) -> None:
    """DDL runs, and says so by a table without columns."""
    assert reader.query("CREATE TABLE IF NOT EXISTS ddl_only (a INT)").num_columns == 0
    assert reader.query("SELECT count() FROM ddl_only").num_columns == 1


@pytest.fixture
def stored(tables: QuestDbSettings, venue: str, make_block: MakeBlock) -> list[EventBlock]:
    """Three sessions of a venue, the last two interleaved in time."""
    blocks = []
    for number, shift_ns in enumerate([0, 86_400_000_000_000, 86_400_000_000_777]):
        block = make_block(venue, f"S{number}", seed=20 + number)
        for records in block.kinds().values():
            records["ts_event"] += shift_ns
        blocks.append(block)
        sink = QuestDbSink(tables)
        sink.write(block, 0, 0)
        sink.close()
    wait_applied(tables, KINDS)
    return blocks


@pytest.mark.parametrize("chunk_rows", [11, 60, 100_000])
def test_events_come_in_time_order(
    reader: QuestDbReader, venue: str, stored: list[EventBlock], plain_rows: PlainRows, chunk_rows: int
) -> None:
    """However small the steps, each kind is in (ts_event, seq) order, no block precedes an earlier one,
    and nothing is missing or doubled, also where many rows share a ts."""
    blocks = list(reader.read_events(venue, 0, 2**62, kinds=KINDS, chunk_rows=chunk_rows))
    latest: tuple[int, int] = (0, 0)
    for block in blocks:
        keys = [
            (int(ts), int(seq))
            for records in block.kinds().values()
            for ts, seq in zip(records["ts_event"], records["seq"], strict=True)
        ]
        assert min(keys) >= latest
        latest = max(keys)
        for records in block.kinds().values():
            assert (np.lexsort((records["seq"], records["ts_event"])) == np.arange(len(records))).all()
    for number, original in enumerate(stored):
        mine = [block for block in blocks if block.session == f"S{number}"]
        for kind in KINDS:
            rows = plain_rows(mine, kind)
            assert sorted(rows, key=repr) == sorted(plain_rows([original], kind), key=repr)


def test_range_and_symbols_choose(
    reader: QuestDbReader, venue: str, stored: list[EventBlock], plain_rows: PlainRows
) -> None:
    """from_ns is in, to_ns is out, and only the wanted kinds and symbols come."""
    trades = stored[0].trades
    from_ns, to_ns = int(trades["ts_event"][50]), int(trades["ts_event"][150])
    blocks = list(reader.read_events(venue, from_ns, to_ns, kinds=["trades"], symbols=["BTC-USDT"]))
    wanted = (trades["ts_event"] >= from_ns) & (trades["ts_event"] < to_ns) & (trades["symbol"] == 2)
    expected = stored[0].select({"trades": wanted})
    assert len(expected) > 0
    assert sorted(plain_rows(blocks, "trades")) == sorted(plain_rows([expected], "trades"))
    assert list(reader.read_events(venue, from_ns, to_ns, symbols=[])) == []
    assert list(reader.read_events(venue, to_ns, from_ns)) == []
    with pytest.raises(StorageError, match="no event table 'ticks'"):
        reader.read_events(venue, 0, 1, kinds=["ticks"])


def test_counts_and_ranges(reader: QuestDbReader, venue: str, stored: list[EventBlock]) -> None:
    """Counts by symbol and ranges of time are those of what was written, by session and by day."""
    first: EventBlock = stored[0]
    names: SymbolTable = first.symbols
    numbers = np.bincount(first.statuses["symbol"], minlength=len(names))
    expected = {names.names[index]: int(count) for index, count in enumerate(numbers) if count}
    assert reader.count_by_symbol("statuses", venue, "S0") == expected
    assert "" in expected  # rows of the venue as a whole count under the empty symbol
    days = {date(2026, 11, 20): stored[:1], date(2026, 11, 21): stored[1:]}
    for day, blocks in days.items():
        ts = np.concatenate([block.trades["ts_event"] for block in blocks])
        inside = ts[(ts // 86_400_000_000_000) == (day - date(1970, 1, 1)).days]
        assert sum(reader.count_by_symbol("trades", venue, day=day).values()) == len(inside)
        assert reader.time_range("trades", venue, day=day) == (inside.min(), inside.max())
    assert reader.time_range("trades", venue, "none") is None


def test_sql_errors_show_the_place(reader: QuestDbReader) -> None:
    """QuestDB's message comes with line, column and a mark below the place, over both doors."""
    with pytest.raises(
        StorageError, match=r"Invalid column: colour \(line 2, column 3\).*SHOW COLUMNS"
    ) as caught:
        reader.query("SELECT seq,\n  colour\nFROM trades")
    assert str(caught.value).splitlines()[1:] == ["      colour", "      ^"]
    with pytest.raises(StorageError, match=r"does not exist.*\(line 1, column 15\).*schema apply"):
        reader.query("SELECT * FROM nowhere")
    with pytest.raises(StorageError, match=r"does not exist.*\(line 1, column 15\).*schema apply"):
        reader.fetch("SELECT * FROM nowhere")


def test_wrong_password_is_said(tables: QuestDbSettings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A refused password names the settings to correct, and does not show the password."""
    file = tmp_path_factory.mktemp("password") / "password"
    file.write_text("not-it\n")
    with (
        QuestDbReader(tables.model_copy(update={"password_file": file})) as reader,
        pytest.raises(ServiceError, match=r"does not accept user 'admin'.*password_file") as caught,
    ):
        reader.fetch("SELECT 1")
    assert "not-it" not in str(caught.value)


def test_dead_server_is_said(free_port: int) -> None:
    """Nobody listening is a ServiceError that says how to start the server, over both doors."""
    with QuestDbReader(QuestDbSettings.load(http_port=free_port, pg_port=free_port)) as reader:
        with pytest.raises(ServiceError, match=r"does not answer.*tickloom up"):
            reader.query("SELECT 1")
        with pytest.raises(ServiceError, match=r"does not answer.*tickloom up"):
            reader.fetch("SELECT 1")
