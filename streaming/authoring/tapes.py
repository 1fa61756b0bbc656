"""Small files of events written by hand in, the block that an ingester would make of them out.

A rule's tapes lie beside it, ``tapes/NAME/CASE.csv``, or ``CASE.parquet`` with the same columns, and with
each the signals that are expected over it, ``CASE.signals.csv``. A row of a tape is one event::

    kind,symbol,time_s,price,size,side,bid_price,bid_size,ask_price,ask_size
    quote,ALFA,0,,,,99.99,800,100.00,200
    trade,ALFA,0.050,100.08,100,buy,,,,

Rows are in the order in which the events arrived. ``time_s`` (or ``time_ms``) is event time from the
start of the tape, 2024-08-08 13:30 UTC. Columns that no row needs may be left out, and lines that begin
with ``#`` are for the reader. An empty cell is "none": NULL where the view can be NULL, else the default
that :data:`KINDS` gives. ``message`` numbers the source's messages; rows with the same number are one
message, and have one seq.

A row of the expected signals names first and last event by their row in the tape: the number that an
editor or a spreadsheet shows, where the column names are row 1. (So a Parquet file's first event is row
2.) An empty strength or ref_price is not compared. ``# param: trades=4`` runs the case with that value::

    # param: trades=4
    symbol,side,strength,ref_price,first_row,last_row
    ALFA,buy,8,100.08,2,3
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from streaming.authoring.cells import Cells, csv_lines, csv_rows, parquet_rows, read_text, shown
from streaming.tape import Tape
from tickloom.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S
from tickloom.errors import TapeError
from tickloom.events import CONDITION_TEXTS, GAP_TEXTS, SEQ_PER_DAY, SIDE_TEXTS, STATUS_TEXTS, EventBlock

EVENTS_MAX = 100_000  # a tape is for the eye; over more events, `tickloom rules run`
SIGNALS_SUFFIX = ".signals.csv"
SIGNAL_COLUMNS = ("symbol", "side", "strength", "ref_price", "first_row", "last_row")
_TIMES_NS = {"time_s": NS_PER_S, "time_ms": NS_PER_MS}
_COMMON = ("kind", "symbol", "message", *_TIMES_NS)
_NEEDED = "needed"  # marks a cell that has no default
#: Cells of each kind of event, and what an empty one means.
KINDS: dict[str, dict[str, str]] = {
    "trade": {"price": _NEEDED, "size": _NEEDED, "side": "none", "condition": "regular"},
    "quote": {"bid_price": "", "bid_size": "", "ask_price": "", "ask_size": ""},
    "status": {"status": _NEEDED, "reason": ""},
    "gap": {"first_missing": _NEEDED, "last_missing": _NEEDED, "reason": "sequence"},
    "news": {"score": "", "words": "1", "headline": "", "source": "", "age_s": "0"},
}
_TEXTS = {"side": SIDE_TEXTS, "condition": CONDITION_TEXTS, "status": STATUS_TEXTS}
_COLUMNS = tuple(dict.fromkeys((*_COMMON, *(name for cells in KINDS.values() for name in cells))))


@dataclass(slots=True)
class TapeFile:
    """A tape that was read.

    Attributes
    ----------
    block : EventBlock
        Its events; every row is a source message of its own, unless ``message`` says otherwise.
    seq_of_row : dict
        Row number to seq, in the order of the rows.
    """

    path: Path
    block: EventBlock
    seq_of_row: dict[int, int]

    def row_of(self, seq: int) -> int | None:
        """The first row of the message ``seq``; None where the tape has no such message."""
        return next((row for row, known in self.seq_of_row.items() if known == seq), None)


@dataclass(frozen=True, slots=True)
class ExpectedSignal:
    """A signal that a rule must give over a tape. strength, ref_price: None is not compared."""

    symbol: str
    side: str
    strength: float | None
    ref_price: float | None
    first_row: int
    last_row: int
    line: int = 0


@dataclass(slots=True)
class Expectation:
    """What a ``.signals.csv`` says: signals, and the parameters under which they come.

    comments: its lines that begin with ``#``, as they are written.
    """

    signals: list[ExpectedSignal]
    overrides: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)


def read_tape(path: Path, venue: str) -> TapeFile:
    """Read a tape of events of ``venue``.

    Raises
    ------
    TapeError
        It cannot be used; with the line, and what to write instead.
    """
    if path.suffix == ".parquet":
        rows = parquet_rows(path, _COLUMNS, ("kind", "symbol"))
    else:
        rows = csv_rows(path, _COLUMNS, ("kind", "symbol"))
    tape = Tape(venue=venue)
    seq_of_row: dict[int, int] = {}
    for cells in rows:
        if len(seq_of_row) == EVENTS_MAX:
            cells.refuse(f"more than {EVENTS_MAX:,} events", "use `tickloom rules run`")
        seq_of_row[cells.line] = _add(tape, cells)
    if not seq_of_row:
        raise TapeError(shown(path), 0, "no events", "write a row for each event below the column names")
    return TapeFile(path, tape.block(), seq_of_row)


def read_expectation(path: Path, tape: TapeFile) -> Expectation:
    """Read the signals that are expected over ``tape``.

    Raises
    ------
    TapeError
        It cannot be used, or names a row that the tape does not have.
    """
    found = Expectation([])
    for line in read_text(path).splitlines():
        if line.lstrip("\"' ").startswith("#"):
            found.comments.append(line)
    for number, key, value in _parameters(path):
        if key in found.overrides:
            raise TapeError(shown(path), number, f"a second value of {key}", "keep one of the two")
        found.overrides[key] = value
    for cells in csv_rows(path, SIGNAL_COLUMNS, SIGNAL_COLUMNS):
        found.signals.append(
            ExpectedSignal(
                cells["symbol"],
                cells.one_of("side", ("buy", "sell")),
                cells.number("strength"),
                cells.number("ref_price"),
                _row(cells, "first_row", tape),
                _row(cells, "last_row", tape),
                cells.line,
            )
        )
    return found


def _row(cells: Cells, name: str, tape: TapeFile) -> int:
    number = cells.whole(name)
    if number not in tape.seq_of_row:
        first, last = min(tape.seq_of_row), max(tape.seq_of_row)
        cells.refuse(
            f"{name} {number}: {tape.path.name} has no event there",
            f"its events are in rows {first} to {last}; row 1 has the names of its columns",
        )
    return number


def write_expectation(path: Path, expectation: Expectation) -> None:
    """Write an expectation as :func:`read_expectation` reads it, its comments first."""
    text = io.StringIO()
    text.writelines(f"{line}\n" for line in expectation.comments)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SIGNAL_COLUMNS)
    for one in expectation.signals:
        figures = ("" if value is None else figure(value) for value in (one.strength, one.ref_price))
        writer.writerow([one.symbol, one.side, *figures, one.first_row, one.last_row])
    path.write_text(text.getvalue())


def figure(value: float) -> str:
    """A strength or price for the eye: twelve digits, which is closer than it is compared."""
    return f"{value:.12g}"


def _add(tape: Tape, cells: Cells) -> int:
    """Add the event of a row; returns its seq."""
    kind = cells.one_of("kind", tuple(KINDS))
    own = KINDS[kind]
    foreign = [name for name, text in cells.texts.items() if text and name not in own and name not in _COMMON]
    if foreign:
        cells.refuse(f"a {kind} has no {foreign[0]}", f"leave that cell empty; a {kind} has {', '.join(own)}")
    cells = cells.with_defaults(own)
    for name in own:
        if cells[name] == _NEEDED:
            cells.refuse(f"a {kind} without {name}", f"fill in the cell {name}")
    if not cells["symbol"] and kind in ("trade", "quote", "news"):
        cells.refuse(f"a {kind} without symbol", "fill in the cell symbol")
    at_ms, symbol = _time_ns(cells) / NS_PER_MS, cells["symbol"]
    if cells["message"]:
        _set_message(tape, cells)
    if kind == "trade":
        side, condition = (cells.one_of(name, _TEXTS[name]) for name in ("side", "condition"))
        return tape.trade(symbol, at_ms, cells.decimal("price"), cells.decimal("size"), side, condition)
    if kind == "quote":
        bid, bid_size = _book_side(cells, "bid")
        ask, ask_size = _book_side(cells, "ask")
        return tape.quote(symbol, at_ms, bid, ask, bid_size, ask_size)
    if kind == "status":
        status, reason = cells.one_of("status", STATUS_TEXTS), cells["reason"]
        if len(reason) > 8 or not reason.isascii():
            cells.refuse(f"reason {reason!r}", "write the venue's code, eight ASCII letters at most")
        return tape.status(symbol, at_ms, status, reason)
    if kind == "news":
        score = cells.number("score")
        if score is not None and not -1 <= score <= 1:
            cells.refuse(f"score {score:g}", "write a number from -1 to 1, or nothing where there is none")
        given = math.nan if score is None else score
        texts, age_ms = (cells["headline"], cells["source"]), 1_000 * (cells.number("age_s") or 0)
        return tape.news(symbol, at_ms, given, cells.whole("words"), *texts, age_ms)
    missing = cells.whole("first_missing"), cells.whole("last_missing")
    return tape.gap(symbol, at_ms, *missing, cells.one_of("reason", GAP_TEXTS))


def _book_side(cells: Cells, side: str) -> tuple[float | str, str]:
    """Price and size; no price at all is a side without orders."""
    price, size = cells[f"{side}_price"], cells[f"{side}_size"]
    if not price:
        if size:
            cells.refuse(f"{side}_size without {side}_price", f"fill in both, or none for an empty {side}")
        return float("nan"), "0"
    if not size:
        cells.refuse(f"{side}_price without {side}_size", f"fill in both, or none for an empty {side}")
    return cells.decimal(f"{side}_price"), cells.decimal(f"{side}_size")


def _time_ns(cells: Cells) -> int:
    given = [name for name in _TIMES_NS if cells[name]]
    if len(given) != 1:
        cells.refuse("an event needs time_s or time_ms, one of them", "write seconds from the start: 0.250")
    text = cells[given[0]]
    try:
        time_ns = Decimal(text) * _TIMES_NS[given[0]]
        if not 0 <= time_ns < NS_PER_DAY or time_ns != int(time_ns):
            raise ValueError(text)
    except (InvalidOperation, ValueError):
        cells.refuse(
            f"{given[0]} {text!r}", "write a number from 0 on, such as 0.250; a tape is a day at most"
        )
    return int(time_ns)


def _set_message(tape: Tape, cells: Cells) -> None:
    number = cells.whole("message")
    if not max(1, tape.messages) <= number < SEQ_PER_DAY:
        cells.refuse(
            f"message {number} behind message {tape.messages}",
            "numbers rise from 1 on; rows of the same message follow one another",
        )
    tape.messages = number - 1


def _parameters(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, key and value of each ``# param: key=value``."""
    for line, cells in csv_lines(path):
        comment = ",".join(cells).rstrip(",")  # a spreadsheet gives every line the same number of cells
        word, colon, assignment = comment.lstrip("# ").partition(":")
        if not comment.startswith("#") or word.strip() not in ("param", "parameter", "params"):
            continue
        key, equals, value = assignment.strip().partition("=")
        if not colon or not equals or not key.strip():
            raise TapeError(shown(path), line, comment, "write # param: key=value, one a line")
        yield line, key.strip(), value.strip()
