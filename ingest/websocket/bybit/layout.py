"""Bybit's usual messages as templates (see :mod:`ingest.websocket.template`), of API v5 first."""

from __future__ import annotations

from ingest.websocket.bybit.messages import BybitReader
from ingest.websocket.decoder import Wire
from ingest.websocket.message import Kind
from ingest.websocket.template import compile_templates

_LEVEL = '["<price>","<size>"]'
_BEST = '"data":{"s":"<same>","b":[["<bid>","<bid_size>"]],"a":[["<ask>","<ask_size>"]],"u":<id>,'
_TIME = '"seq":<n>}<if ,"cts":><at_ms><fi>}'
_SIDES = f'"data":{{"s":"<same>","b":<each buy>{_LEVEL}<end>,"a":<each sell>{_LEVEL}<end>,"u":<next_id>,'

_OLD_LEVEL = '{"price":"<price>","symbol":"<same>","id":<n~>,"side":"<side>","size":<size>}'
_OLD_GONE = '{"price":"<price>","symbol":"<same>","id":<n~>,"side":"<side>"}'
_OLD_CHANGES = (
    f'"data":{{"delete":<each>{_OLD_GONE}<end>,"update":<each>{_OLD_LEVEL}<end>,"insert":<each>{_OLD_LEVEL}<end>'
    '<if ,"transactTimeE6":><n><fi>}'
)
_OLD_TAIL = ',"cross_seq":<id~>,"timestamp_e6":<time_us~>}'
_OLD_BOOK = '{"topic":"orderBookL2_25.<symbol>","type":"%s",'


def _book(depth: str, type_: str, data: str) -> str:
    return f'{{"topic":"orderbook.{depth}.<symbol>","type":"{type_}","ts":<time_ms>,{data}{_TIME}'


TEMPLATES = [
    (Kind.TICKER, _book("1", "snapshot", _BEST)),
    *((Kind.UPDATE, _book(depth, "delta", _SIDES)) for depth in ("50", "200", "1000", "500")),
    *((Kind.SNAPSHOT, _book(depth, "snapshot", _SIDES)) for depth in ("50", "200", "1000", "500")),
    (
        Kind.TRADES,
        '{"topic":"publicTrade.<symbol>","type":"snapshot","ts":<n>,"data":<each>{"T":<time_ms>,"s":"<same>",'
        '"S":"<side>","v":"<size>","p":"<price>",<if "L":"><s>",<fi>"i":"<s>","BT":<any><if ,"RPI":><any><fi>'
        '<if ,"seq":><n><fi>}<end>}',
    ),
    (Kind.UPDATE, _OLD_BOOK % "delta" + _OLD_CHANGES + _OLD_TAIL),
    (
        Kind.TRADES,
        '{"topic":"trade.<symbol>","data":<each>{"symbol":"<same>","tick_direction":"<s>","price":"<price>",'
        '"size":<size>,"timestamp":"<s>","trade_time_ms":"<time_ms>","side":"<side>","trade_id":"<s>"}<end>}',
    ),
    (
        Kind.TRADES,
        '{"topic":"trade.<symbol>","data":<each>{"trade_time_ms":<time_ms>,"timestamp":"<s>","symbol":"<same>",'
        '"side":"<side>","size":<size>,"price":<price>,"tick_direction":"<s>","trade_id":"<s>","cross_seq":<n>}'
        "<end>}",
    ),
    (Kind.SNAPSHOT, _OLD_BOOK % "snapshot" + f'"data":<each>{_OLD_LEVEL}<end>' + _OLD_TAIL),
    (Kind.SNAPSHOT, _OLD_BOOK % "snapshot" + f'"data":{{"order_book":<each>{_OLD_LEVEL}<end>}}' + _OLD_TAIL),
]

WIRE = Wire(compile_templates(TEMPLATES), BybitReader)
