"""Kraken's usual messages as templates (see :mod:`ingest.websocket.template`), the most frequent first.

Those of v1 and of v2 differ in their first bytes, so either costs the other next to nothing.
"""

from __future__ import annotations

from ingest.websocket.checksum import Checksum
from ingest.websocket.decoder import Wire
from ingest.websocket.kraken.messages import KrakenReader
from ingest.websocket.kraken.protocol import BOOK_DEPTHS
from ingest.websocket.kraken.symbols import aliases
from ingest.websocket.message import Kind
from ingest.websocket.template import compile_templates

_LEVEL = '["<price>","<size>","<time_s>"<if ,"r"><fi>]'
_ASKS, _BIDS = f"<each sell>{_LEVEL}<end>", f"<each buy>{_LEVEL}<end>"
_BOOK = '"book-<depth>","<symbol>"]'
_TWO_TEXTS, _TWO_COUNTS = '["<s>","<s>"]', "[<n>,<n>]"

V1 = [
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

_HEAD = '{"channel":"%s","type":"%s","data":'
_LEVEL_V2 = '{"price":<price>,"qty":<size>}'
_SIDES = f'"bids":<each buy>{_LEVEL_V2}<end>,"asks":<each sell>{_LEVEL_V2}<end>'
_TIME, _TIME_IF = '"timestamp":"<time_iso>"', '<if ,"timestamp":"><time_iso>"<fi>'

V2 = [
    (
        Kind.UPDATE,
        _HEAD % ("book", "update") + f'[{{"symbol":"<symbol>",{_SIDES},"checksum":<checksum>,{_TIME}}}]}}',
    ),
    (
        Kind.TICKER,
        _HEAD % ("ticker", "update") + '[{"symbol":"<symbol>",'
        '"bid":<bid>,"bid_qty":<bid_size>,"ask":<ask>,"ask_qty":<ask_size>,"last":<d>,"volume":<d>,"vwap":<d>,'
        f'"low":<d>,"high":<d>,"change":<d>,"change_pct":<d><if ,"trades":><n><fi>{_TIME_IF}}}]}}',
    ),
    (
        Kind.TRADES,
        _HEAD
        % ("trade", "update")
        + '<each>{"symbol":"<symbol>","side":"<side>","price":<price>,"qty":<size>,'
        f'"ord_type":"<s>","trade_id":<trade_id>,{_TIME}}}<end>}}',
    ),
    (Kind.IGNORED, '{"channel":"heartbeat"}'),
    (
        Kind.SNAPSHOT,
        _HEAD % ("book", "snapshot")
        + f'[{{"symbol":"<symbol>",{_SIDES},"checksum":<checksum>{_TIME_IF}}}]}}',
    ),
]

WIRE = Wire(compile_templates([*V2, *V1]), KrakenReader, Checksum.KRAKEN, aliases=aliases, depths=BOOK_DEPTHS)
