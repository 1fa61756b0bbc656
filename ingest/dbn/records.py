"""Layouts of DBN records, and what becomes of each type: data for the kernel and the loader.

The dtypes are those of ``databento_dbn`` (each class has ``_dtypes``), which the tests hold them to.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

MAGIC = b"DBN"
VERSIONS = (1, 2, 3)
PREFIX_BYTES = 8  # magic, version, length of the metadata
WORD_BYTES = 4  # unit of a record's length
UNDEF_PRICE = 2**63 - 1
FLAG_LAST, FLAG_TOB, FLAG_SNAPSHOT, FLAG_MBP, FLAG_MAYBE_BAD_BOOK = 0x80, 0x40, 0x20, 0x10, 0x04
LEVELS = 10  # of an MBP-10 record


class RType(IntEnum):
    """Record types, as in the head."""

    MBP_0 = 0x00  # trades
    MBP_1 = 0x01  # mbp-1 and tbbo
    MBP_10 = 0x0A
    OHLCV_DEPRECATED = 0x11
    STATUS = 0x12
    INSTRUMENT_DEF = 0x13
    IMBALANCE = 0x14
    ERROR = 0x15
    SYMBOL_MAPPING = 0x16
    SYSTEM = 0x17
    STATISTICS = 0x18
    OHLCV_1S = 0x20
    OHLCV_1M = 0x21
    OHLCV_1H = 0x22
    OHLCV_1D = 0x23
    OHLCV_EOD = 0x24
    MBO = 0xA0
    CMBP_1 = 0xB1
    CBBO_1S = 0xC0
    CBBO_1M = 0xC1
    TCBBO = 0xC2
    BBO_1S = 0xC3
    BBO_1M = 0xC4
    TBBO = 0xC5


NAMES = {int(kind): kind.name.lower() for kind in RType}

_HEAD = [
    ("length", "u1"),
    ("rtype", "u1"),
    ("publisher_id", "<u2"),
    ("instrument_id", "<u4"),
    ("ts_event", "<u8"),
]
_MBP = [
    *_HEAD,
    ("price", "<i8"),
    ("size", "<u4"),
    ("action", "S1"),
    ("side", "S1"),
    ("flags", "u1"),
    ("depth", "u1"),
    ("ts_recv", "<u8"),
    ("ts_in_delta", "<i4"),
    ("sequence", "<u4"),
]


def _levels(count: int) -> list[tuple[str, str]]:
    fields = (("bid_px", "<i8"), ("ask_px", "<i8"), ("bid_sz", "<u4"), ("ask_sz", "<u4"), ("bid_ct", "<u4"),
              ("ask_ct", "<u4"))  # fmt: skip
    return [(f"{name}_{level:02d}", kind) for level in range(count) for name, kind in fields]


HEAD = np.dtype(_HEAD)
MBP_0 = np.dtype(_MBP)
MBP_1 = np.dtype(_MBP + _levels(1))
MBP_10 = np.dtype(_MBP + _levels(LEVELS))
MBO = np.dtype(
    [
        *_HEAD,
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "S1"),
        ("side", "S1"),
        ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
STATUS = np.dtype(
    [
        *_HEAD,
        ("ts_recv", "<u8"),
        ("action", "<u2"),
        ("reason", "<u2"),
        ("trading_event", "<u2"),
        ("is_trading", "S1"),
        ("is_quoting", "S1"),
        ("is_short_sell_restricted", "S1"),
        ("_reserved", "S7"),
    ]
)

#: Place of the receive time in a record; types without one go by ``ts_event``.
TS_RECV = MBP_0.fields["ts_recv"][1]  # type: ignore[index]
TS_RECV_MBO = MBO.fields["ts_recv"][1]  # type: ignore[index]
#: By type: where a record has the time by which files and replays are ordered.
TIME_AT = np.full(256, 8, dtype=np.int64)
TIME_AT[[RType.MBP_0, RType.MBP_1, RType.TBBO, RType.MBP_10]] = TS_RECV
TIME_AT[RType.MBO] = TS_RECV_MBO
TIME_AT[[RType.STATUS, RType.INSTRUMENT_DEF]] = HEAD.itemsize
LEVEL_BYTES = MBP_1.itemsize - MBP_0.itemsize

#: How the kernel takes a type: bytes it needs; 0: it has no place among our events; -1: rare, for Python.
NO_PLACE, RARE = 0, -1
LENGTHS = np.zeros(256, dtype=np.int64)
for _kind, _dtype in (
    (RType.MBP_0, MBP_0),
    (RType.MBP_1, MBP_1),
    (RType.TBBO, MBP_1),
    (RType.MBP_10, MBP_10),
    (RType.MBO, MBO),
):
    LENGTHS[_kind] = _dtype.itemsize
for _kind in (RType.STATUS, RType.INSTRUMENT_DEF, RType.SYMBOL_MAPPING):
    LENGTHS[_kind] = RARE
