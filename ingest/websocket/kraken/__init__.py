"""Kraken's public market data, websocket API v1: the bytes of one connection in, normalised events out.

``messages`` and ``layout`` know the wire; ``protocol`` what to say to the venue. The rest is shared with
the other venues that stream their own snapshots (:mod:`ingest.websocket.decoder`,
:mod:`ingest.websocket.session`).

Not covered: the websocket API v2, whose messages are objects with JSON numbers, at another address.
"""
