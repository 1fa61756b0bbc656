"""Calibrations of pairs: how they are found, and the frozen sets that spreads are computed with.

``frozen`` reads and writes ``VENUE.toml`` beside this file, ``calibration`` finds what belongs there,
``candidates.toml`` says which pairs are looked at.
"""
