"""Kraken's usual messages as templates (see :mod:`ingest.websocket.template`), the most frequent first."""

from __future__ import annotations

from ingest.websocket.checksum import Checksum
from ingest.websocket.decoder import Wire
from ingest.websocket.kraken.messages import KrakenReader
from ingest.websocket.message import Kind
from ingest.websocket.template import compile_templates

_LEVEL = '["<price>","<size>","<time_s>"<if ,"r"><fi>]'
_ASKS, _BIDS = f"<each sell>{_LEVEL}<end>", f"<each buy>{_LEVEL}<end>"
_BOOK = '"book-<depth>","<symbol>"]'
_TWO_TEXTS, _TWO_COUNTS = '["<s>","<s>"]', "[<n>,<n>]"

TEMPLATES = [
    (Kind.UPDATE, f'[<n>,{{"b":{_BIDS},"c":"<checksum>"}},{_BOOK}'),
    (Kind.UPDATE, f'[<n>,{{"a":{_ASKS},"c":"<checksum>"}},{_BOOK}'),
    (Kind.UPDATE, f'[<n>,{{"a":{_ASKS}}},{{"b":{_BIDS},"c":"<checksum>"}},{_BOOK}'),
    (Kind.IGNORED, '{"event":"heartbeat"}'),
    (Kind.TICKER, '[<n>,["<bid>","<ask>","<time_s>","<bid_size>","<ask_size>"],"spread","<symbol>"]'),
    (
        Kind.TRADES,
        '[<n>,<each>["<price>","<size>","<time_s>","<side>","<s>","<s>"]<end>,"trade","<symbol>"]',
    ),
    (
        Kind.TICKER,
        '[<n>,{"a":["<ask>",<n>,"<ask_size>"],"b":["<bid>",<n>,"<bid_size>"],'
        f'"c":{_TWO_TEXTS},"v":{_TWO_TEXTS},"p":{_TWO_TEXTS},"t":{_TWO_COUNTS},'
        f'"l":{_TWO_TEXTS},"h":{_TWO_TEXTS},"o":{_TWO_TEXTS}}},"ticker","<symbol>"]',
    ),
    (Kind.SNAPSHOT, f'[<n>,{{"as":{_ASKS},"bs":{_BIDS}}},{_BOOK}'),
]

WIRE = Wire(compile_templates(TEMPLATES), KrakenReader, Checksum.KRAKEN)
