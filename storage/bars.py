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
