"""Which column of a table is what: ``--columns time=ts,price=px``, or a header that says it by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tickloom.errors import SettingsError

#: Fields by kind: those that must be there, and those that may.
REQUIRED = {
    "trades": ("time", "price", "size"),
    "quotes": ("time", "bid_price", "bid_size", "ask_price", "ask_size"),
}
OPTIONAL = {"trades": ("symbol", "side", "id", "time_received"), "quotes": ("symbol", "id", "time_received")}
#: Names in a header that are taken for a field, besides its own.
ALIASES = {
    "time": ("ts", "ts_event", "timestamp", "datetime", "date"),
    "time_received": ("ts_recv",),
    "symbol": ("instrument", "ticker"),
    "size": ("quantity", "qty", "volume", "amount"),
    "id": ("venue_id", "trade_id"),
    "bid_price": ("bid",),
    "ask_price": ("ask",),
}


@dataclass(frozen=True, slots=True)
class Mapping:
    """kind: trades or quotes; columns: field to column; symbol: of all rows, where no column has it."""

    kind: str
    columns: dict[str, str]
    symbol: str


def mapping_of(names: Sequence[str], kind: str, given: str, symbol: str, source: str) -> Mapping:
    """The mapping of a table.

    Parameters
    ----------
    names : sequence of str
        Its columns.
    kind : str
        ``trades``, ``quotes``, or empty: whichever its columns are.
    given : str
        ``field=column`` with commas between; what it does not name is looked for by name.
    symbol : str
        Of all rows, if no column has it.

    Raises
    ------
    SettingsError
        A field is unknown, twice, or its column is not there; or there is nothing for a required one.
    """
    named = _named(given, names, source)
    for field, aliases in (dict.fromkeys(_fields(), ()) | ALIASES).items():
        if field not in named:
            lower = {name.strip().lower(): name for name in names}
            for alias in (field, *aliases):
                if alias in lower:
                    named[field] = lower[alias]
                    break
    if not kind:
        kind = next((each for each, needed in REQUIRED.items() if set(needed) <= named.keys()), "")
    if kind and kind not in REQUIRED:
        raise SettingsError(f"--kind {kind!r}: give {' or '.join(REQUIRED)}")
    if kind not in REQUIRED:
        wanted = " or ".join(f"{each} ({', '.join(needed)})" for each, needed in REQUIRED.items())
        raise SettingsError(
            f"{source} has the columns {', '.join(names)}; it is not clear which are those of {wanted}. "
            "Say it: --kind trades --columns time=COLUMN,price=COLUMN,size=COLUMN"
        )
    missing = [field for field in REQUIRED[kind] if field not in named]
    if missing:
        raise SettingsError(
            f"{source}: no column for {', '.join(missing)} among {', '.join(names)}; say it with --columns "
            f"{missing[0]}=COLUMN"
        )
    if "symbol" not in named and not symbol:
        raise SettingsError(
            f"{source} has no column of symbols; say --symbol NAME, or --columns symbol=COLUMN"
        )
    used = (*REQUIRED[kind], *OPTIONAL[kind])
    columns = {field: name for field, name in named.items() if field in used}
    if symbol:
        columns.pop("symbol", None)
    return Mapping(kind, columns, symbol)


def _fields() -> list[str]:
    return sorted({field for table in (REQUIRED, OPTIONAL) for fields in table.values() for field in fields})


def _named(given: str, names: Sequence[str], source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in given.split(","))):
        field, equals, column = (text.strip() for text in part.partition("="))
        if not equals or field not in _fields():
            raise SettingsError(
                f"--columns {part!r}: give FIELD=COLUMN, with FIELD one of {', '.join(_fields())}"
            )
        if field in found:
            raise SettingsError(f"--columns names {field} twice")
        if column not in names:
            raise SettingsError(f"{source} has no column {column!r}; it has {', '.join(names)}")
        found[field] = column
    return found
