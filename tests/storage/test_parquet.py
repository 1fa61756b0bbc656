"""Events from Parquet files: what was written comes back, and what cannot be trusted is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from storage.columns import LAYOUTS
from storage.parquet import ParquetReader, columns_of, write_events
from tickloom.errors import StorageError
from tickloom.events import QUOTE_DTYPE, TRADE_DTYPE, EventBlock, SymbolTable, make_seq
from tickloom.prices import NO_PRICE

DAY_NS = 1_795_132_800_000_000_000  # 2026-11-20T00:00:00Z
ROWS = 30_000


def block(rows: int = ROWS, venue: str = "XNAS") -> EventBlock:
    """Trades and quotes of three symbols, four of each in a millisecond; some quotes have no offer."""
    rng = np.random.default_rng(5)
    symbols = SymbolTable(["ALFA", "BTC-USDT", "Ö"])
    kinds = []
    for offset, dtype in enumerate((TRADE_DTYPE, QUOTE_DTYPE)):
        records = np.zeros(rows, dtype)
        records["ts_event"] = DAY_NS + np.arange(rows) // 4 * 1_000_000 + offset
        records["ts_recv"] = records["ts_event"] + 77
        records["seq"] = make_seq(date(2026, 11, 20), 1) + 2 * np.arange(rows) + offset
        records["symbol"] = rng.integers(1, 4, rows)
        for name in dtype.names or ():
            if name.endswith(("price", "size")):
                records[name] = rng.integers(1, 10**6, rows) * 10**7
        kinds.append(records)
    kinds[1]["ask_price"][::7] = NO_PRICE
    return EventBlock(venue, "20261120.A", symbols, *kinds)


def names_and_rows(blocks: list[EventBlock], kind: str) -> list[tuple[object, ...]]:
    """Rows with symbols as names: each reader has its own table of symbols."""
    return [
        (one.session, one.symbols.names[row["symbol"]], *row.tolist()[:3], *row.tolist()[4:])
        for one in blocks
        for row in one.kinds()[kind]
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the block's files."""
    assert write_events([block()], tmp_path / "day", ["trades", "quotes", "gaps"]) == {
        "trades": ROWS,
        "quotes": ROWS,
        "gaps": 0,
    }
    return tmp_path / "day"


def test_written_events_come_back_exactly(folder: Path) -> None:
    """All columns, to the nano, in blocks none of which goes back in time, whatever their size."""
    written = block()
    for chunk_rows in (700, 200_000):
        reader = ParquetReader(folder)
        found = list(reader.read_events("XNAS", 0, 2**62, reader.kinds, chunk_rows))
        for kind in ("trades", "quotes"):
            assert names_and_rows(found, kind) == names_and_rows([written], kind)
        ends = [max(int(r["ts_event"][-1]) for r in one.kinds().values() if len(r)) for one in found]
        begins = [min(int(r["ts_event"][0]) for r in one.kinds().values() if len(r)) for one in found]
        assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))
    assert len(list(ParquetReader(folder).read_events("XNAS", 0, 2**62, chunk_rows=700))) > 30


def test_time_range_is_half_open(folder: Path) -> None:
    """from_ns is in, to_ns is not; the file knows what it holds."""
    reader = ParquetReader(folder / "trades.parquet")
    assert reader.kinds == ("trades",)
    assert reader.time_range() == (DAY_NS, DAY_NS + (ROWS // 4 - 1) * 1_000_000)
    found = list(reader.read_events("XNAS", DAY_NS + 1_000_000, DAY_NS + 3_000_000))
    assert [int(ts) for one in found for ts in one.trades["ts_event"]] == [
        DAY_NS + ms * 1_000_000 for ms in (1, 1, 1, 1, 2, 2, 2, 2)
    ]


def test_row_groups_outside_of_the_time_are_not_read(folder: Path, tmp_path: Path) -> None:
    """A group whose pages are destroyed does no harm to who does not want its time."""
    path = tmp_path / "trades.parquet"
    table = pyarrow.parquet.read_table(folder / "trades.parquet")
    pyarrow.parquet.write_table(table, path, row_group_size=ROWS // 2, compression="none")
    first = pyarrow.parquet.read_metadata(path).row_group(0)
    raw = bytearray(path.read_bytes())
    raw[4 : 4 + first.total_byte_size] = bytes(first.total_byte_size)
    path.write_bytes(raw)
    half_ns = DAY_NS + ROWS // 8 * 1_000_000
    found = list(ParquetReader(path).read_events("XNAS", half_ns, 2**62))
    assert sum(len(one) for one in found) == ROWS // 2
    with pytest.raises((OSError, StorageError)):
        list(ParquetReader(path).read_events("XNAS", 0, 2**62))


def test_other_types_of_the_same_meaning_are_read(folder: Path, tmp_path: Path) -> None:
    """Microseconds without a zone, dictionaries and whole numbers: what other writers make of it."""
    path = tmp_path / "trades.parquet"
    table = pyarrow.parquet.read_table(folder / "trades.parquet")
    for name, kind in (
        ("ts", pa.timestamp("us")),
        ("symbol", pa.dictionary(pa.int32(), pa.string())),
        ("size", pa.int32()),
        ("venue_id", pa.int32()),
    ):
        place = table.schema.get_field_index(name)
        column = (
            table[name].dictionary_encode()
            if pa.types.is_dictionary(kind)
            else table[name].cast(kind, safe=False)
        )
        table = table.set_column(place, name, column)
    pyarrow.parquet.write_table(table, path)
    found = list(ParquetReader(path).read_events("XNAS", 0, 2**62))
    assert sum(len(one) for one in found) == ROWS
    assert int(found[0].trades["ts_event"][4]) == DAY_NS + 1_000_000
    assert set((found[0].trades["size"] % 10**9).tolist()) == {0}


def spoiled(table: pa.Table, name: str, change: object) -> pa.Table:
    """The table with a column changed; None removes it."""
    place = table.schema.get_field_index(name)
    if change is None:
        return table.remove_column(place)
    return table.set_column(place, name, change(table[name]))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("price", None, "lacks price"),
        ("seq", lambda column: column.cast(pa.float64()), "column seq is double, not int64"),
        ("ts", lambda column: column.cast(pa.int64()), "column ts is int64, not timestamp"),
        ("ts", lambda column: pa.array(column.to_pylist()[::-1], column.type), "not in the order of ts"),
        (
            "ts",
            lambda column: pa.array([2**62 - 1] * len(column), pa.int64()).cast(column.type),
            "1970 to 2100",
        ),
        ("seq", lambda column: pa.array([None] * len(column), pa.int64()), "column seq has a NULL"),
        ("price", lambda column: pa.array([float("nan")] * len(column)), "price has a NULL"),
        ("side", lambda column: pa.array(["up"] * len(column)), "'up', which is none of"),
        ("venue", lambda column: pa.array(["XLON"] * len(column)), "events of XLON, and none of XNAS"),
    ],
)
def test_what_cannot_be_trusted_is_refused(
    name: str, change: object, message: str, folder: Path, tmp_path: Path
) -> None:
    """Columns, types, order, range, NULLs, codes and venue; the message names the file and the reason."""
    path = tmp_path / "trades.parquet"
    pyarrow.parquet.write_table(
        spoiled(pyarrow.parquet.read_table(folder / "trades.parquet"), name, change), path
    )
    with pytest.raises(StorageError, match=message):
        list(ParquetReader(path).read_events("XNAS", 0, 2**62))


def test_unknown_column_is_named(folder: Path, tmp_path: Path) -> None:
    """With the columns that there may be."""
    path = tmp_path / "trades.parquet"
    table = pyarrow.parquet.read_table(folder / "trades.parquet").append_column(
        "vwap", pa.array([1.0] * ROWS)
    )
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(StorageError, match=r"unknown columns vwap\. .*ts, ts_recv, venue"):
        ParquetReader(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    """A file that is not there, is no Parquet, or a folder without any."""
    (tmp_path / "trades.parquet").write_bytes(b"symbol,price\n")
    for path, message in (
        (tmp_path / "away.parquet", "no such file"),
        (tmp_path / "trades.parquet", "cannot be read as Parquet"),
    ):
        with pytest.raises(StorageError, match=message):
            ParquetReader(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match=r"none of trades\.parquet"):
        ParquetReader(tmp_path / "empty")


def test_kind_is_seen_by_the_columns(folder: Path, tmp_path: Path) -> None:
    """Whatever the file is called."""
    (folder / "quotes.parquet").rename(tmp_path / "alfa.parquet")
    assert ParquetReader(tmp_path / "alfa.parquet").kinds == ("quotes",)
    assert columns_of(LAYOUTS["quotes"])[:6] == ["ts", "ts_recv", "venue", "session", "symbol", "seq"]
