"""Kraken's public market data, websocket v2 and v1: the bytes of one connection in, normalised events out.

One decoder reads both, so a capture need not say which it is of: v2's messages are objects with JSON numbers,
v1's are arrays of texts. ``messages`` (``messages_v1``, ``messages_v2``) and ``layout`` know the wire,
``protocol`` what to say to the venue, ``symbols`` how each version spells a pair. The rest is shared with
the other venues that stream their own snapshots (:mod:`ingest.websocket.decoder`,
:mod:`ingest.websocket.session`).

Books are subscribed to 100 levels of a side. The checksum is of the ten best: what is lost behind them shows
when it comes up. v2 has one in snapshots, too, and numbers its trades. Not covered: single orders
(``level3``), which need a login, and the channels ``ohlc`` and ``instrument``.
"""
