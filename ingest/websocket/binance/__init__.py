"""Binance's market streams, spot and USD-M futures: the bytes of one connection in, normalised events out.

``messages`` and ``scan`` know the wire, ``book``, ``sync`` and ``advance`` what follows from it, ``decoder``
puts them together for the sinks; ``protocol`` decides what a connection does next and ``session`` does it.
"""
