"""The smallest complete feed: copy this folder to begin another one. ``docs/feeds.md`` is its guide.

The venue is made up. It sends the best quotes and the trades of a day over TCP, each packet behind a length
(u16, big-endian) and with a number; a client says from which number on it wants
them. What a feed consists of:

======================  ==========================================================================
``messages``            the wire as data, and how bytes are cut into packets: pure
``decoder``             packets of a capture in, events in columns out: pure, compiled
``session``             sockets: what comes goes to the capture, and nothing else is decided there
``declaration``         what the feed is called, its settings, and where the three others are
======================  ==========================================================================

Not covered, because this venue has none: order books, and messages of one packet that belong together.
"""
