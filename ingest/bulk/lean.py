"""Zips of ticks as QuantConnect's Lean keeps them in, trades or quotes out.

A zip holds one CSV without a header, ``YYYYMMDD_SYMBOL_Trade_Tick.csv`` or ``..._Quote_Tick.csv``: ms since
midnight in New York, prices in 1/10,000 dollar, sizes, exchange, conditions, and whether the data's vendor
finds the row suspicious. Suspicious rows are rejects. ``seq`` is the day and the line.

A row of quotes says one side of the national best, 0 for the other, and whose it is. A bid and the ask behind
it in the same millisecond are one quote. (Read like that, the sample files are crossed in at most 0.08 % of
regular hours; each exchange's rows taken for its own book, IBM is crossed in 96 % of them.)

Source: Lean's repository, Data/equity/readme.md; the sides, from the files themselves.
"""

from __future__ import annotations

import re
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from ingest.bulk import values
from ingest.bulk.source import Emit, Rejects, bytes_read, lines_of
from tickloom.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S
from tickloom.errors import DecodeError, SettingsError
from tickloom.events import QUOTE_DTYPE, TRADE_DTYPE, EventBlock, Records, SymbolTable, seq_base
from tickloom.instruments import Registry
from tickloom.prices import NANOS, NO_PRICE

BLOCK_BYTES = 4 << 20
PRICE_NANOS = NANOS // 10_000
_MEMBER = re.compile(r"(\d{8})_([A-Za-z0-9.]+)_(trade|quote)_tick\.csv", re.IGNORECASE)
_TRADE = ("ms", "price", "size", "exchange", "conditions", "suspicious")
_QUOTE = ("ms", "bid", "bid_size", "ask", "ask_size", "exchange", "conditions", "suspicious")
_ZONE = ZoneInfo("America/New_York")
_LARGEST = 2**53 // PRICE_NANOS * 1_000  # of a price or size: far beyond any, and safe to multiply
_MS, _BID, _ASK, _LINE = 0, 1, 3, 5  # columns of rows of quotes


class LeanSource:
    """One zip. See :class:`ingest.bulk.source.Source`.

    Parameters
    ----------
    exchange : str
        Its letter, for the trades of that one alone; empty: all.

    Raises
    ------
    DecodeError
        No zip of one CSV of ticks.
    SettingsError
        An exchange, and the file is of quotes.
    """

    def __init__(
        self,
        path: Path,
        venue: str,
        rejects: Rejects,
        registry: Registry,
        exchange: str = "",
        session: str = "",
    ) -> None:
        self.name, self.venue = str(path), venue
        self.size_bytes = path.stat().st_size
        self._path, self._rejects, self._exchange = path, rejects, exchange
        self._member, day, symbol, self._quotes = _member_of(path)
        if self._quotes and exchange:
            raise SettingsError(
                f"{path}: quotes are the best of all exchanges, and of {exchange} alone there are none; load "
                "quotes without --exchange"
            )
        kind = "QUOTES" if self._quotes else "TRADES"
        only = f".{exchange}" if exchange else ""
        self.session = session or f"{day:%Y%m%d}.LEAN.{symbol}.{kind}{only}"
        self._base = seq_base(day)
        self._midnight_ns = int(datetime(day.year, day.month, day.day, tzinfo=_ZONE).timestamp()) * NS_PER_S
        known = registry.by_venue_symbol(venue, symbol)
        self._symbols = SymbolTable([known.symbol if known else symbol])
        self._latest_ns = 0
        self._rows = self._others = 0
        self._invalid: list[int] = []
        self._best = NationalBest()

    def run(self, emit: Emit) -> None:
        """Hand all events on. Raises DecodeError where the zip is damaged."""
        names = _QUOTE if self._quotes else _TRADE
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(self._member) as file:
                reader = pyarrow.csv.open_csv(
                    file,
                    read_options=pyarrow.csv.ReadOptions(
                        use_threads=False, block_size=BLOCK_BYTES, column_names=list(names)
                    ),
                    parse_options=pyarrow.csv.ParseOptions(
                        invalid_row_handler=self._invalid_row, ignore_empty_lines=False
                    ),
                    convert_options=pyarrow.csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                    ),
                )
                for chunk in reader:
                    self._emit(*self._records(chunk), emit)
            if self._quotes:
                self._emit(self._quote_records(self._best.finish()), self._base + self._rows, emit)
        except (zipfile.BadZipFile, pa.ArrowInvalid, EOFError, OSError) as error:
            raise DecodeError("lean", f"{self.name}: {error}") from None
        finally:
            self._rejects.close()

    def position(self) -> int:
        return bytes_read(self._path)

    def report(self) -> dict[str, Any]:
        return {
            "format": "lean",
            "kind": "quotes" if self._quotes else "trades",
            "rows": self._rows + len(self._invalid),
            "other_exchanges": self._others,
            "rejected": self._rejects.report(),
        }

    def _invalid_row(self, row: Any) -> str:
        self._invalid.append(int(row.number))
        detail = f"{row.actual_columns} values, not {row.expected_columns}"
        self._rejects.add(int(row.number), "another number of values", detail, row.text or "")
        return "skip"

    def _records(self, chunk: pa.RecordBatch) -> tuple[Records, int]:
        """Events of some rows, and the last seq that is done with."""
        count = chunk.num_rows
        lines = lines_of(self._rows + 1 + np.arange(count, dtype=np.int64), self._invalid)
        self._rows += count
        numbers, bad = self._numbers(chunk)
        good = np.ones(count, dtype=bool)
        for row, reason in sorted(bad.items()):
            good[row] = False
            text = ",".join(str(value) for value in chunk.slice(row, 1).to_pylist()[0].values())
            self._rejects.add(int(lines[row]), reason, reason, text)
        last = int(lines[-1]) if count else 0
        if self._quotes:
            columns = [numbers[name][good] for name in ("ms", "bid", "bid_size", "ask", "ask_size")]
            records = self._quote_records(self._best.take(np.column_stack([*columns, lines[good]])))
            return records, self._base + (self._best.waits_at - 1 if self._best.waits_at else last)
        if self._exchange:
            letters = np.array([text[:1] for text in chunk["exchange"].to_pylist()])
            own = letters == self._exchange[0]
            self._others += int((good & ~own).sum())
            good &= own
        numbers = {name: column[good] for name, column in numbers.items()}
        return self._trade_records(numbers, lines[good]), self._base + last

    def _emit(self, records: Records, last: int, emit: Emit) -> None:
        block = EventBlock(self.venue, self.session, self._symbols)
        if self._quotes:
            block.quotes = records
        else:
            block.trades = records
        if len(records):
            self._latest_ns = max(self._latest_ns, int(records["ts_event"].max()))
        emit(block, self._latest_ns, last)

    def _numbers(self, chunk: pa.RecordBatch) -> tuple[dict[str, NDArray[np.int64]], values.Bad]:
        """Columns of numbers, and the rows that are no events."""
        bad: values.Bad = {}
        found = {}
        for name in chunk.schema.names:
            if name in ("exchange", "conditions"):
                continue
            found[name], wrong = values.whole_numbers(chunk[name])
            large = np.flatnonzero((found[name] < 0) | (found[name] > _LARGEST))
            for row in (*wrong, *large.tolist()):
                bad.setdefault(row, f"{name} is no number that can be")
        for row in np.flatnonzero(found["ms"] * NS_PER_MS >= NS_PER_DAY + 3_600 * NS_PER_S):
            bad.setdefault(int(row), "ms is not of that day")
        for row in np.flatnonzero(found["suspicious"]):
            bad.setdefault(int(row), "suspicious")
        if not self._quotes:
            for row in np.flatnonzero((found["price"] == 0) | (found["size"] == 0)):
                bad.setdefault(int(row), "price or size is 0")
        else:
            for row in np.flatnonzero((found["bid"] == 0) & (found["ask"] == 0)):
                bad.setdefault(int(row), "neither side has a price")
        return found, bad

    def _head(self, records: Records, ms: NDArray[np.int64], lines: NDArray[np.int64]) -> Records:
        records["ts_event"] = records["ts_recv"] = self._midnight_ns + ms * NS_PER_MS
        records["seq"], records["symbol"] = self._base + lines, 1
        return records

    def _trade_records(self, numbers: dict[str, NDArray[np.int64]], lines: NDArray[np.int64]) -> Records:
        records = self._head(np.zeros(len(lines), dtype=TRADE_DTYPE), numbers["ms"], lines)
        records["price"], records["size"] = numbers["price"] * PRICE_NANOS, numbers["size"] * NANOS
        return records

    def _quote_records(self, best: NDArray[np.int64]) -> Records:
        records = self._head(np.zeros(len(best), dtype=QUOTE_DTYPE), best[:, _MS], best[:, _LINE])
        for at, side in ((_BID, "bid"), (_ASK, "ask")):
            price, size = best[:, at], best[:, at + 1]
            records[f"{side}_price"] = np.where(price > 0, price * PRICE_NANOS, NO_PRICE)
            records[f"{side}_size"] = size * NANOS
        return records


class NationalBest:
    """Rows that say one side each in, both sides out, wherever they changed.

    Rows are int64, shape (n, 6): ms, bid, bid size, ask, ask size (0: that side did not change), line.

    Attributes
    ----------
    waits_at : int
        Line of a bid that may have its ask in the row behind it, which has not come yet; 0: none waits.
    """

    def __init__(self) -> None:
        self._held = np.zeros((0, 6), dtype=np.int64)
        self._sides = np.zeros((1, 4), dtype=np.int64)
        self._told = np.full((1, 4), -1, dtype=np.int64)

    @property
    def waits_at(self) -> int:
        return int(self._held[0, _LINE]) if len(self._held) else 0

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The next rows, in their order; of the last one, if it is a bid alone, what it says comes later."""
        rows = np.concatenate([self._held, rows])
        ends_in_bid = len(rows) > 0 and rows[-1, _BID] > 0 and not rows[-1, _ASK]
        self._held = rows[len(rows) - int(ends_in_bid) :]
        return self._changes(rows[: len(rows) - int(ends_in_bid)])

    def finish(self) -> NDArray[np.int64]:
        """There are no more."""
        held, self._held = self._held, self._held[:0]
        return self._changes(held)

    def _changes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        has_bid, has_ask = rows[:, _BID] > 0, rows[:, _ASK] > 0
        first = np.zeros(len(rows), dtype=bool)  # of a pair
        first[:-1] = has_bid[:-1] & ~has_ask[:-1] & has_ask[1:] & ~has_bid[1:]
        first[:-1] &= rows[:-1, _MS] == rows[1:, _MS]
        sides = np.concatenate([self._sides, rows[:, _BID:_LINE]])
        for at, has in ((0, has_bid), (2, has_ask)):  # the last row that says something of the side
            place = np.maximum.accumulate(np.where(has, np.arange(1, len(sides)), 0))
            sides[1:, at : at + 2] = sides[place, at : at + 2]
        self._sides = sides[-1:]
        whole = sides[1:][~first]
        before = np.concatenate([self._told, whole])
        self._told = before[-1:]
        changed = (before[1:] != before[:-1]).any(axis=1)
        found: NDArray[np.int64] = rows[~first][changed]
        found[:, _BID:_LINE] = whole[changed]
        return found


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip does."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _member_of(path: Path) -> tuple[str, date, str, bool]:
    """Member, day, symbol, and whether it is of quotes."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DecodeError("lean", f"{path} is no zip that can be read: {error}") from None
    match = _MEMBER.fullmatch(names[0]) if len(names) == 1 else None
    if match is None:
        raise DecodeError(
            "lean",
            f"{path} holds {', '.join(names[:3]) or 'nothing'}; a zip of ticks holds one "
            "YYYYMMDD_SYMBOL_Trade_Tick.csv, or Quote",
        )
    try:
        day = datetime.strptime(match[1], "%Y%m%d").date()  # noqa: DTZ007
    except ValueError:
        raise DecodeError("lean", f"{path}: {match[1]} in {names[0]} is no day") from None
    return names[0], day, match[2].upper(), match[3].lower() == "quote"
