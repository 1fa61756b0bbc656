"""Coinbase Exchange's websocket feed: the bytes of one connection in, normalised events out.

``messages`` and ``layout`` know the wire; ``protocol`` what to say to the venue. The rest is shared with
the other venues that stream their own snapshots (:mod:`ingest.websocket.decoder`,
:mod:`ingest.websocket.session`).

Level 2 has neither number nor checksum: a hole in it can only show as a crossed book or a lost connection,
so TCP and the heartbeat are all that vouches for it. Trades have ids without holes, and a hole in them is a
gap event. Old tickers have no sizes: such a quote has size 0 beside a price. Not covered: the full channel
(order by order) and the Advanced Trade API, whose messages are others at another address.
"""
