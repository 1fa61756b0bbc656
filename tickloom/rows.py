"""Records copied, picked and joined whole.

NumPy copies an item that has fields field by field: 5,000 book deltas in 230 us, without fields in 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.void]


def whole(records: Rows) -> Rows:
    """The same records as items without fields, to be copied; ``view`` gives them their fields again."""
    return records.view(np.dtype((np.void, records.dtype.itemsize)))


def copied(records: Rows) -> Rows:
    """Records in memory of their own."""
    return whole(records).copy().view(records.dtype)


def picked(records: Rows, which: NDArray[Any]) -> Rows:
    """The records at some indices, or where a mask is true, in memory of their own."""
    chosen: Rows = whole(records)[which].view(records.dtype)
    return chosen


def joined(parts: Sequence[Rows], dtype: np.dtype[np.void]) -> Rows:
    """Records of one kind, one part behind the other; a single part as it is."""
    if len(parts) == 1:
        return parts[0]
    out = np.empty(sum(map(len, parts)), dtype=dtype)
    items = whole(out)
    start = 0
    for part in parts:
        stop = start + len(part)
        items[start:stop] = whole(part)
        start = stop
    return out
