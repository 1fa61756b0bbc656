"""Kernels compiled before they are needed: the first datagram must not wait for a compiler.

Numba keeps what it compiled (see ``tickloom.compile_cache``), so this takes its time once.
"""

from __future__ import annotations

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.capture_scan import scan_records
from ingest.feeds import STREAM_FEEDS, decoder_for
from ingest.itch.decoder import ItchDecoder
from ingest.itch.lines import Lines
from ingest.itch.moldudp64 import HEAD_BYTES, Tracker
from ingest.itch.runs import Heads
from ingest.trust import TrustMachine
from ingest.udp.counts import LineCounter
from tickloom.codec import TickBatch, decode, encode
from tickloom.events import DELTA_DTYPE, QUOTE_DTYPE, TRADE_DTYPE, EventBlock, SymbolTable
from tickloom.instruments import Registry


def warm_up_shared() -> None:
    """The capture's scanner and the wire codec, which every feed uses."""
    scan_records(np.frombuffer(b"", dtype=np.uint8))
    block = EventBlock(
        "",
        "",
        SymbolTable(),
        np.zeros(1, dtype=TRADE_DTYPE),
        np.zeros(1, dtype=QUOTE_DTYPE),
        np.zeros(1, dtype=DELTA_DTYPE),
    )
    decode(encode(TickBatch(0, 0, 0, 0, block)))
    TrustMachine(0).take(block)


def warm_up_feed(feed: str, registry: Registry) -> None:
    """What the decoders of a feed run, and whatever sees to its sessions. ``feed``: as in ``FEEDS``."""
    venues = [venue.code for venue in registry.venues.values() if venue.feed == feed]
    if feed == "itch":
        warm_up_itch(registry)
    elif feed == "binance":
        from ingest.websocket.binance.decoder import warm_up as warm_up_binance

        for code in venues:
            warm_up_binance(code, registry)
    elif feed in STREAM_FEEDS:
        from ingest.websocket.session import warm_up as warm_up_stream

        for code in venues:
            warm_up_stream(code, registry)
    elif feed == "dbn":
        from ingest.dbn.decoder import DbnDecoder
        from ingest.dbn.kernel import whole_records

        DbnDecoder("", "20000101", registry).decode(CaptureBatch.of([(RecordKind.DATA, 0, b"")]))
        whole_records(np.zeros(0, dtype=np.uint8), 1, np.zeros(1, dtype=np.int64))
    else:
        batch = CaptureBatch.of([(RecordKind.DATA, 0, b"")])
        for code in venues:
            decoder_for(code, "20000101", registry).decode(batch)


def warm_up_itch(registry: Registry) -> None:
    """The ITCH decoder, the tracker of its session, its first messages and the count of its lines."""
    batch = CaptureBatch.of([(RecordKind.DATA, 0, bytes(HEAD_BYTES))])
    ItchDecoder("", "20000101", registry).decode(batch)
    for _ in Tracker(b"").take(batch.data, batch.offsets, batch.kinds):
        pass
    Heads(b"").look(batch)
    warm_up_lines(Lines(b""))


def warm_up_lines(lines: LineCounter) -> None:
    """The count of a feed's lines."""
    lines.take(CaptureBatch.of([(RecordKind.DATA, 0, b"")]))


def warm_up_synthetic() -> None:
    """The generator of synthetic sessions: two seconds of it."""
    from ingest.synthetic.coins import SyntheticLines
    from ingest.synthetic.datagrams import pack
    from ingest.synthetic.itch_stream import itch_stream
    from ingest.synthetic.market import make_session
    from ingest.synthetic.parameters import MarketParameters

    parameters = MarketParameters(duration_s=2.0)
    pack(itch_stream(make_session(parameters)), slice_ns=1_000_000)
    SyntheticLines(parameters)
