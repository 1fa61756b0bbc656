"""Nasdaq TotalView-ITCH 5.0 in MoldUDP64: layouts, sequencer, order book, decoder, sockets, files."""
