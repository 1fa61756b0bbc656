"""Records copied whole against NumPy's own copies."""

from __future__ import annotations

import numpy as np

from tickloom.events import DELTA_DTYPE, TRADE_DTYPE
from tickloom.rows import copied, joined, picked


def test_joined_records_are_numpy_concatenated() -> None:
    """Part behind part, all bytes as they were; a single part is not copied, none is no record."""
    rng = np.random.default_rng(3)
    parts = [
        np.frombuffer(rng.bytes(count * TRADE_DTYPE.itemsize), dtype=TRADE_DTYPE) for count in (3, 0, 1, 40)
    ]
    assert joined(parts, TRADE_DTYPE).tobytes() == np.concatenate(parts).tobytes()
    assert joined(parts[:1], TRADE_DTYPE) is parts[0]
    assert joined([], DELTA_DTYPE).dtype == DELTA_DTYPE
    assert len(joined([], DELTA_DTYPE)) == 0


def test_records_are_copied_whole() -> None:
    """Copies and picks have all fields, memory of their own, and take any view: rows apart, none."""
    records = np.zeros(10, dtype=TRADE_DTYPE)
    records["seq"], records["price"] = np.arange(10), np.arange(10) * 7
    for given in (records, records[::3], records[::-1], records[:0]):
        copy, mask = copied(given), given["seq"] % 2 == 0
        order = np.argsort(-given["seq"])
        assert copy.dtype == TRADE_DTYPE
        assert not np.shares_memory(copy, records)
        assert copy.tolist() == given.tolist()
        assert picked(given, mask).tolist() == given[mask].tolist()
        assert picked(given, order).tolist() == given[order].tolist()
        assert joined([given, records], TRADE_DTYPE).tolist() == [*given.tolist(), *records.tolist()]
