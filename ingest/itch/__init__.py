"""Nasdaq TotalView-ITCH 5.0 over MoldUDP64 and SoupBinTCP, snapshots by GLIMPSE: from layouts to sockets."""
