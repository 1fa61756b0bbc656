"""CSV and Parquet: each row is an event with its line as number, or a reject with line and reason."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard

from ingest.bulk import tables
from ingest.bulk.load import Options, load, open_source
from ingest.bulk.mapping import mapping_of
from ingest.bulk.source import Source
from ingest.bulk.tables import TableOptions
from tickloom.errors import DecodeError, SettingsError
from tickloom.events import EventBlock, source_seq
from tickloom.prices import NO_PRICE

DAY_NS = 1_795_132_800_000_000_000
NANOS = 10**9
TRADES = """time,symbol,price,size,side,id
2026-11-20T14:30:00Z,ALFA,152.41,100,buy,1
2026-11-20T14:30:00.000000001Z,ALFA,152.415,7,s,2

1795186801,BRVO,1.0000000001,7,s,3
oops,BRVO,1,7,s,4
1795186802,BRVO,1,0,s,5
1795186803,BRVO,1
1795186804,BRVO,118.7,3,,
"""


class Taken:
    """A sink that keeps what it is given."""

    name = "taken"

    def __init__(self) -> None:
        self.blocks: list[EventBlock] = []
        self.watermarks: list[int] = []

    def resume_after(self, _venue: str, _session: str) -> dict[str, int]:
        return {}

    def write(self, block: EventBlock, watermark_ns: int, _last_seq: int) -> None:
        self.blocks.append(block)
        self.watermarks.append(watermark_ns)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def rows(self, kind: str) -> list[tuple[Any, ...]]:
        return [
            (event, source_seq(seq), block.symbols.names[symbol], *rest)
            for block in self.blocks
            for event, _, seq, symbol, *rest in block.kinds()[kind].tolist()
        ]


def test_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    """What spreadsheets call "CSV UTF-8" begins with one: the same events as without."""
    path = tmp_path / "rows.csv"
    path.write_text(TRADES)
    plain, _ = run(path)
    path.write_text(TRADES, encoding="utf-8-sig")
    marked, source = run(path)
    assert marked.rows("trades") == plain.rows("trades") != []
    assert source.report()["format"] == "csv"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (TRADES.encode("utf-16"), "is in UTF-16; save it"),
        (TRADES.replace(",", ";").encode(), "has semicolons between its columns; save it with commas"),
        (TRADES.replace(",", "\t").encode(), "has tabs between its columns"),
    ],
    ids=["utf-16", "semicolons", "tabs"],
)
def test_other_kinds_of_csv_are_told(tmp_path: Path, raw: bytes, said: str) -> None:
    """They are not taken for a file of the venue's feed, whose decoder would say something else of them."""
    path = tmp_path / "rows.csv"
    path.write_bytes(raw)
    with pytest.raises(DecodeError, match=said):
        run(path)


def run(path: Path, **options: Any) -> tuple[Taken, Source]:
    source = open_source(path, Options(path.parent / "rejects", "XNAS", table=TableOptions(**options)))
    sink = Taken()
    loaded = load(source, [sink])
    assert loaded.events == sum(map(len, sink.blocks))
    return sink, source


def written(tmp_path: Path, text: str, name: str = "day.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_trades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    """Good rows are trades, numbered by their lines; each other row is a reject with its line, wherever the
    file is cut into blocks."""
    monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
    path = written(tmp_path, TRADES)
    sink, source = run(path)
    at = DAY_NS + 52_200 * NANOS
    assert sink.rows("trades") == [
        (at, 2, "ALFA", 152_410_000_000, 100 * NANOS, 1, 1, 0),
        (at + 1, 3, "ALFA", 152_415_000_000, 7 * NANOS, 2, 2, 0),
        (DAY_NS + 54_004 * NANOS, 9, "BRVO", 118_700_000_000, 3 * NANOS, 0, 0, 0),
    ]
    assert (source.venue, source.session) == ("XNAS", "20261120.CSV.day")
    report = source.report()
    assert (report["rows"], report["rejected"]["rows"]) == (8, 5)
    with Path(report["rejected"]["file"]).open() as file:
        rejected = {int(row["line"]): row["reason"] for row in csv.DictReader(file)}
    assert rejected == {
        4: "time is empty",
        5: "price has more than nine decimals",
        6: "time is no time",
        7: "size is not above 0",
        8: "another number of values",
    }


def test_rejects_are_of_the_last_load(tmp_path: Path) -> None:
    """A file without bad rows leaves none; those of a load before are gone."""
    path = written(tmp_path, TRADES)
    rejects = Path(run(path)[1].report()["rejected"]["file"])
    assert rejects.exists()
    written(tmp_path, "\n".join(TRADES.splitlines()[:3]) + "\n")
    assert run(path)[1].report()["rejected"] == {"rows": 0, "reasons": {}}
    assert not rejects.exists()


def test_quotes(tmp_path: Path) -> None:
    """Aliases of the header; an empty side, or one of size 0, is no price."""
    path = written(
        tmp_path,
        "timestamp,bid,bid_size,ask,ask_size\n1795132801,99.5,3,100,4\n1795132802,,,100,4\n"
        "1795132803,99,0,100,4\n1795132804,99,-1,100,4\n",
    )
    sink, source = run(path, symbol="ALFA")
    assert [row[3:7] for row in sink.rows("quotes")] == [
        (99_500_000_000, 3 * NANOS, 100 * NANOS, 4 * NANOS),
        (NO_PRICE, 0, 100 * NANOS, 4 * NANOS),
        (NO_PRICE, 0, 100 * NANOS, 4 * NANOS),
    ]
    assert source.report()["rejected"]["reasons"] == {"size is below 0": 1}


def test_columns_that_are_named(tmp_path: Path) -> None:
    """Any header, compressed, with a zone, a unit and a session of one's own."""
    path = tmp_path / "odd.gz"
    path.write_bytes(gzip.compress(b"t,px,qty,name\n1795132801000,1,2,ALFA\n"))
    named = "time=t,price=px,size=qty,symbol=name"
    sink, source = run(path, columns=named, kind="trades", time_unit="ms", session="20261120.MINE")
    assert sink.rows("trades") == [(DAY_NS + NANOS, 2, "ALFA", NANOS, 2 * NANOS, 0, 0, 0)]
    assert source.session == "20261120.MINE"


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("at", [30, 20_000])
def test_damaged_compression_is_a_typed_error(
    tmp_path: Path, packed: Callable[[bytes], bytes], at: int
) -> None:
    """At the header or far behind it: said, and which file."""
    rng = random.Random(1)
    rows = "".join(f"2026-11-20T14:30:00Z,ALFA,{rng.randrange(1, 10**6)},7,s,{n}\n" for n in range(20_000))
    raw = bytearray(packed((TRADES.splitlines()[0] + "\n" + rows).encode()))
    raw[at : at + 400] = b"\xff" * 400
    path = tmp_path / "day.csv.packed"
    path.write_bytes(raw)
    with pytest.raises(DecodeError, match=r"day\.csv\.packed"):
        run(path, kind="trades")


def test_parquet(tmp_path: Path) -> None:
    """Stamps, doubles, dictionaries and NULLs; rows are numbered from 1."""
    table = pa.table(
        {
            "ts": pa.array([DAY_NS + 5, DAY_NS + 9, None], pa.timestamp("ns", "UTC")),
            "symbol": pa.array(["ALFA", "BRVO", "ALFA"]).dictionary_encode(),
            "price": [152.41, None, 1.0],
            "size": pa.array([100, 5, 5], pa.int32()),
            "side": ["buy", "sell", "buy"],
        }
    )
    path = tmp_path / "day.parquet"
    pyarrow.parquet.write_table(table, path)
    sink, source = run(path)
    assert sink.rows("trades") == [(DAY_NS + 5, 1, "ALFA", 152_410_000_000, 100 * NANOS, 0, 1, 0)]
    reasons = source.report()["rejected"]["reasons"]
    assert reasons == {"price is empty": 1, "time is empty": 1}
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DecodeError, match="cannot be read as Parquet"):
        run(path)


def test_mapping_is_said_or_clear() -> None:
    """What is missing, unknown or named twice is an error that says what to say."""
    names = ["time", "symbol", "price", "size", "bid", "bid_size", "ask", "ask_size"]
    assert mapping_of(names, "", "", "", "f").kind == "trades"
    assert mapping_of(names, "quotes", "", "", "f").columns["bid_price"] == "bid"
    assert "symbol" not in mapping_of(names, "", "", "ALFA", "f").columns
    for given, kind, symbol, reason in (
        ("price=px", "", "", "no column 'px'"),
        ("cost=price", "", "", "give FIELD=COLUMN"),
        ("price=price,price=size", "", "", "names price twice"),
        ("", "bars", "", "--kind 'bars': give trades or quotes"),
    ):
        with pytest.raises(SettingsError, match=reason):
            mapping_of(names, kind, given, symbol, "f")
    with pytest.raises(SettingsError, match="no column for size"):
        mapping_of(["time", "price"], "trades", "", "A", "f")
    with pytest.raises(SettingsError, match="no column of symbols; say --symbol"):
        mapping_of(["time", "price", "size"], "", "", "", "f")


def test_what_has_to_be_said(tmp_path: Path) -> None:
    """A venue; a file that is there; two columns of one name."""
    path = written(tmp_path, "time,price,price,size\n1,1,1,1\n")
    with pytest.raises(SettingsError, match="two columns of one name"):
        run(path)
    with pytest.raises(SettingsError, match="say it with --venue"):
        open_source(path, Options(tmp_path))
    with pytest.raises(DecodeError, match="no such file"):
        open_source(tmp_path / "none", Options(tmp_path, "XNAS"))
