"""Feeds that speak JSON over websockets: one folder a venue, what they share, and a local venue.

All: ``feed`` keeps a connection up and captures it, ``connection`` decides when to retry, ``book`` keeps
levels, ``output`` gathers events. Venues that stream their own snapshots (Kraken, OKX, Coinbase, Bybit)
share more: the usual messages are templates (``template``, ``template_scan``, ``values``), every other one
is read by a typed reader (``message``, ``reading``); ``streamed`` and ``decoder`` make events of them,
``session`` subscribes and resyncs. Such a venue is ``messages`` (msgspec), ``layout`` (templates),
``protocol`` (what to say), and a decoder and a session of a few lines. ``replay`` and ``server`` play
Binance's recordings, ``cryptofeed_dump`` reads cryptofeed's.
"""
