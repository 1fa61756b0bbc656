"""Seeded synthetic market sessions in genuine wire formats: the demo's input and the load generator.

Everything made here is synthetic and is labelled so. The way through the folder: ``parameters``
(what is modelled, and the calibrated pairs) -> ``paths`` (fair values, planned events) -> ``flow`` on
``orderbook`` (compiled order flow) -> ``market`` (a whole session and its truth) -> ``itch_stream``
(ITCH 5.0 bytes) -> ``moldudp64_sender`` (datagrams, pacing, re-requests, faults); ``coins`` makes
Binance-format lines of two coins on the same clock.
"""
