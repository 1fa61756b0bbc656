"""OKX's usual messages as templates (see :mod:`ingest.websocket.template`), the most frequent first."""

from __future__ import annotations

from ingest.websocket.checksum import Checksum
from ingest.websocket.decoder import Wire
from ingest.websocket.message import Kind
from ingest.websocket.okx.messages import OkxReader
from ingest.websocket.template import compile_templates

_LEVEL = '["<price>","<size>","<s>","<s>"]'
_SIDES = f'"asks":<each sell>{_LEVEL}<end>,"bids":<each buy>{_LEVEL}<end>'
_BEST = '"asks":[["<ask>","<ask_size>","<s>","<s>"]],"bids":[["<bid>","<bid_size>","<s>","<s>"]]'
# the two numbers have been absent, and have come in either order
_NUMBERS = '<if ,"prevSeqId":><previous><fi><if ,"seqId":><id><if ,"prevSeqId":><previous><fi><fi>'
_TAIL = f'"ts":"<time_ms>","checksum":<signed_checksum>{_NUMBERS}}}]}}'
_HEAD = '{"arg":{"channel":"%s","instId":"<symbol>"},'

TEMPLATES = [
    (Kind.UPDATE, _HEAD % "books" + f'"action":"update","data":[{{{_SIDES},{_TAIL}'),
    (
        Kind.TRADES,
        _HEAD
        % "trades"
        + '"data":<each>{"instId":"<same>","tradeId":"<trade_id>","px":"<price>","sz":"<size>",'
        '"side":"<side>","ts":"<time_ms>"<if ,"count":"><s>"<fi><if ,"source":"><s>"<fi>'
        '<if ,"seqId":><n><fi>}<end>}',
    ),
    (
        Kind.TICKER,
        _HEAD % "tickers" + '"data":[{"instType":"<s>","instId":"<same>","last":"<s>","lastSz":"<s>",'
        '"askPx":"<ask>","askSz":"<ask_size>","bidPx":"<bid>","bidSz":"<bid_size>","open24h":"<s>",'
        '"high24h":"<s>","low24h":"<s>","sodUtc0":"<s>","sodUtc8":"<s>","volCcy24h":"<s>","vol24h":"<s>",'
        '"ts":"<time_ms>"}]}',
    ),
    (Kind.TICKER, _HEAD % "bbo-tbt" + f'"data":[{{{_BEST},"ts":"<time_ms>"<if ,"seqId":><id><fi>}}]}}'),
    (Kind.IGNORED, "pong"),
    (Kind.SNAPSHOT, _HEAD % "books" + f'"action":"snapshot","data":[{{{_SIDES},{_TAIL}'),
]

WIRE = Wire(compile_templates(TEMPLATES), OkxReader, Checksum.OKX)
