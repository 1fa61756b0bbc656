"""A CSV or Parquet table written by hand in, its cells out, with errors that point to them."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

from tickloom.errors import PriceRangeError, TapeError
from tickloom.prices import parse_nanos

_DELIMITERS = (",", ";", "\t")  # what spreadsheets write, by country


class Cells:
    """The cells of one row as texts, "" where one is empty, and errors that point to the row."""

    def __init__(self, path: str, line: int, texts: Mapping[str, str]) -> None:
        self.path, self.line, self.texts = path, line, texts

    def with_defaults(self, defaults: Mapping[str, str]) -> Cells:
        """The same row, its empty cells filled in."""
        given = {name: text for name, text in self.texts.items() if text}
        return Cells(self.path, self.line, {**defaults, **given})

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    def refuse(self, reason: str, fix: str) -> NoReturn:
        raise TapeError(self.path, self.line, reason, fix)

    def decimal(self, name: str) -> str:
        """A price or size, which must be one that travels exactly."""
        text = self[name]
        try:
            parse_nanos(text)
        except PriceRangeError as error:
            self.refuse(f"{name}: {error}", "write fewer digits")
        except ValueError:
            self.refuse(f"{name} {text!r} is no number", "write digits and a point, such as 100.25")
        if text.startswith("-") and name.endswith("size"):
            self.refuse(f"{name} {text}", "a size is 0 or more; the column side says who sold")
        return text

    def whole(self, name: str) -> int:
        text = self[name]
        if not (text.isascii() and text.isdigit()):
            self.refuse(f"{name} {text!r} is no whole number", "write a number such as 12")
        return int(text)

    def number(self, name: str) -> float | None:
        try:
            value = float(self[name]) if self[name] else None
        except ValueError:
            self.refuse(f"{name} {self[name]!r} is no number", "write digits and a point, or leave it empty")
        return value

    def one_of(self, name: str, texts: Sequence[str]) -> str:
        if self[name] not in texts:
            self.refuse(f"{name} {self[name]!r}", f"write one of {', '.join(texts)}")
        return self[name]


def shown(path: Path) -> str:
    """A path as messages show it: below the working directory where it is there."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError:
        raise TapeError(shown(path), 0, "not UTF-8", "save it as CSV with the character set UTF-8") from None
    except OSError as error:
        raise TapeError(shown(path), 0, f"cannot be read ({error.strerror})", "see its permissions") from None


def csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of every line that is not empty; comments too."""
    text = read_text(path)
    head = next((line for line in text.splitlines() if line.strip() and not line.startswith(("#", '"#'))), "")
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise TapeError(shown(path), reader.line_num, f"no CSV: {error}", "save it as CSV again") from None


def csv_rows(path: Path, known: Sequence[str], needed: Sequence[str]) -> Iterator[Cells]:
    """Each row below the header, by the names of its columns; comments and empty lines are passed over.

    Raises
    ------
    TapeError
        A column that is not ``known``, or none of a name that is ``needed``.
    """
    names: list[str] = []
    for line, cells in csv_lines(path):
        if cells[0].startswith("#"):
            continue
        if not names:
            while cells and not cells[-1]:  # a spreadsheet's empty columns
                cells.pop()
            names = _header(shown(path), line, cells, known, needed)
            continue
        if any(cells[len(names) :]):
            raise TapeError(
                shown(path),
                line,
                f"{len(cells)} cells under {len(names)} columns",
                'a comma inside a cell? Put the cell into "..."; numbers have a point',
            )
        yield Cells(shown(path), line, dict(zip(names, cells, strict=False)))
    if not names:
        raise TapeError(shown(path), 0, "it is empty", f"begin with the column names: {','.join(known)}")


def _header(path: str, line: int, names: list[str], known: Sequence[str], needed: Sequence[str]) -> list[str]:
    names = [name.lower() for name in names]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            fix = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise TapeError(path, line, f"unknown column {name!r}", fix)
        if names.count(name) > 1:
            raise TapeError(path, line, f"column {name!r} twice", "keep one of them")
    missing = [name for name in needed if name not in names]
    if missing:
        raise TapeError(path, line, f"no column {missing[0]!r}", f"add it; there are {', '.join(known)}")
    return names


def parquet_rows(path: Path, known: Sequence[str], needed: Sequence[str]) -> Iterator[Cells]:
    """As :func:`csv_rows`; the first row is line 2, as below a header."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise TapeError(shown(path), 0, f"no Parquet file ({error})", "write it again, or use CSV") from None
    names = _header(shown(path), 0, table.column_names, known, needed)
    for number, row in enumerate(table.rename_columns(names).to_pylist(), start=2):
        yield Cells(shown(path), number, {name: _cell_text(value) for name, value in row.items()})


def _cell_text(value: object) -> str:
    if value is None or value != value:
        return ""
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
