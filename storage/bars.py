"""Stored bars in, a table of closing prices out: a row a bar, a column a symbol."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from storage.reader import QuestDbReader
from tickloom.errors import StorageError

VIEWS = {"1s": "bars_1s", "1m": "bars_1m"}


def read_closes(
    reader: QuestDbReader, venue: str, bar: str, from_ns: int, to_ns: int, symbols: Sequence[str]
) -> pd.DataFrame:
    """Closing prices of the bars that begin in [from_ns, to_ns).

    Parameters
    ----------
    bar : str
        ``1s`` or ``1m``.

    Returns
    -------
    DataFrame
        Indexed by the bars' beginnings (UTC, rising); NaN where a symbol did not trade in a bar; only
        bars in which one of the symbols did, and only symbols that did.

    Raises
    ------
    StorageError
        There are no bars of that length.
    """
    if bar not in VIEWS:
        raise StorageError(f"no bars of {bar!r}; there are {', '.join(VIEWS)}")
    if not symbols:
        return pd.DataFrame()
    names = ", ".join(["%s"] * len(symbols))
    sql = (
        f"SELECT ts, symbol, close FROM {VIEWS[bar]} WHERE venue = %s AND symbol IN ({names}) "
        f"AND ts >= {from_ns} AND ts < {to_ns}"
    )
    rows = reader.query(sql, (venue, *symbols)).to_pandas()
    if not len(rows):
        return pd.DataFrame()
    closes: pd.DataFrame = rows.pivot(index="ts", columns="symbol", values="close").sort_index()
    return closes


def read_daily_closes(
    reader: QuestDbReader, venue: str, from_ns: int, to_ns: int, symbols: Sequence[str]
) -> pd.DataFrame:
    """The last price of each UTC day in [from_ns, to_ns), of the bars of a minute; as :func:`read_closes`."""
    if not symbols:
        return pd.DataFrame()
    names = ", ".join(["%s"] * len(symbols))
    sql = (
        f"SELECT ts, symbol, last(close) close FROM bars_1m WHERE venue = %s AND symbol IN ({names}) "
        f"AND ts >= {from_ns} AND ts < {to_ns} SAMPLE BY 1d ALIGN TO CALENDAR"
    )
    rows = reader.query(sql, (venue, *symbols)).to_pandas()
    if not len(rows):
        return pd.DataFrame()
    closes: pd.DataFrame = rows.pivot(index="ts", columns="symbol", values="close").sort_index()
    return closes


def read_daily_returns(
    reader: QuestDbReader, keys: Sequence[tuple[str, str]], from_ns: int, to_ns: int
) -> pd.DataFrame:
    """Simple returns from one day on which an instrument traded to the next, oldest first.

    Parameters
    ----------
    keys : sequence of (venue, symbol)
        The columns, in this order.

    Returns
    -------
    DataFrame
        float64 (days, instruments), indexed by day; NaN where an instrument has no return that day.
    """
    found = []
    for venue in dict.fromkeys(venue for venue, _ in keys):
        symbols = [symbol for own, symbol in keys if own == venue]
        closes = read_daily_closes(reader, venue, from_ns, to_ns, symbols)
        if len(closes):
            returns = closes.apply(lambda column: column.dropna().pct_change())
            returns.columns = pd.MultiIndex.from_tuples([(venue, symbol) for symbol in closes.columns])
            found.append(returns)
    if not found:
        return pd.DataFrame(columns=pd.MultiIndex.from_tuples(list(keys)), dtype=float)
    table = pd.concat(found, axis=1).sort_index().reindex(columns=pd.MultiIndex.from_tuples(list(keys)))
    known: pd.DataFrame = table.dropna(how="all").astype(float)
    return known
