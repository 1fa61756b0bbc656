"""Bybit's public market data: the bytes of one connection in, normalised events out.

``messages`` and ``layout`` know the wire; ``protocol`` what to say to the venue. The rest is shared with
the other venues that stream their own snapshots (:mod:`ingest.websocket.decoder`,
:mod:`ingest.websocket.session`).

Two generations are read: API v5 (orderbook, publicTrade), which the session speaks, and v2 (orderBookL2_25,
trade), which recordings have and the venue has switched off. A v5 update has u one more than the one
before; v2's cross_seq counts for all instruments of a matching engine, so there only a number that goes
back is seen. Quotes are v5's ``orderbook.1``. Sizes of v2 are single-precision numbers written out
(642.60004) and are taken as they stand. Trade ids are UUIDs, so ``venue_id`` of a trade is 0. Not covered:
v5 ``tickers``, which on derivatives send what changed.
"""
