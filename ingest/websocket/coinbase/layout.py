"""Coinbase's usual messages as templates (see :mod:`ingest.websocket.template`), the most frequent first."""

from __future__ import annotations

from ingest.websocket.coinbase.messages import CoinbaseReader
from ingest.websocket.decoder import Wire
from ingest.websocket.message import Kind
from ingest.websocket.template import compile_templates

_LEVEL = '["<price>","<size>"]'
_ASKS, _BIDS = f'"asks":<each sell>{_LEVEL}<end>', f'"bids":<each buy>{_LEVEL}<end>'
_MATCH = (
    '"trade_id":<trade_id>,"maker_order_id":"<s>","taker_order_id":"<s>","side":"<maker>","size":"<size>",'
    '"price":"<price>","product_id":"<symbol>","sequence":<id>,"time":"<time_iso>"<entry>}'
)
_SNAPSHOT = '{"type":"snapshot","product_id":"<symbol>",%s,%s<if ,"time":"><time_iso>"<fi>}'

TEMPLATES = [
    (
        Kind.UPDATE,
        '{"type":"l2update","product_id":"<symbol>","changes":<each>["<side>","<price>","<size>"]<end>,'
        '"time":"<time_iso>"}',
    ),
    (
        Kind.TICKER,
        '{"type":"ticker","sequence":<id>,"product_id":"<symbol>","price":"<s>","open_24h":"<s>",'
        '"volume_24h":"<s>","low_24h":"<s>","high_24h":"<s>","volume_30d":"<s>",'
        '"best_bid":"<bid>",<if "best_bid_size":"><bid_size>",<fi>'
        '"best_ask":"<ask>",<if "best_ask_size":"><ask_size>",<fi>'
        '"side":"<s>","time":"<time_iso>","trade_id":<n>,"last_size":"<s>"}',
    ),
    (Kind.TRADES, '{"type":"match",' + _MATCH),
    (Kind.TRADES, '{"type":"last_match",' + _MATCH),
    (
        Kind.IGNORED,
        '{"type":"heartbeat","last_trade_id":<n>,"product_id":"<s>","sequence":<n>,"time":"<s>"}',
    ),
    (Kind.SNAPSHOT, _SNAPSHOT % (_ASKS, _BIDS)),
    (Kind.SNAPSHOT, _SNAPSHOT % (_BIDS, _ASKS)),
]

WIRE = Wire(compile_templates(TEMPLATES), CoinbaseReader, chained_trades=True)
