"""CME MDP 3.0 (market by price) over SBE: templates, packets, books, decoder.

The way: UDP datagrams of a channel's incremental feed (both lines) and of its market recovery and instrument
replay feeds, in the capture as DATA and SNAPSHOT; :mod:`ingest.sbe.mdp3.packets` frames them,
:mod:`ingest.sbe.mdp3.kernel` decodes the incrementals that are due and keeps the books,
:mod:`ingest.sbe.mdp3.decoder` sees to what is rare: order of packets, snapshots, definitions, statuses.

Live, :mod:`ingest.sbe.mdp3.session` captures a channel from its lines by the session of all such feeds
(:mod:`ingest.udp`), and what of market recovery and instrument replay is needed
(:mod:`ingest.sbe.mdp3.recovery`). A capture session is a trading week, ``YYYYMMDD.CHANNEL``.

Source: CME Group Client Systems Wiki, "MDP 3.0": SBE technical headers, Market by Price - Multiple Depth
Book, Market Recovery, Channel Reset, Market Data Security Status; schema versions 9 to 13 of the core
templates.

What an incremental makes
-------------------------
Book (46, 64)          deltas of the outright book, a quote at the end of the event where the top changed
TradeSummary (48, 65)  a trade; a correction takes the old one back and gives the new one
Volume, statistics     RptSeq is checked; no event (37, 66, 49, 51, 67, 50)
SecurityStatus (30)    a status of an instrument, or of each known one of its group
ChannelReset (4)       every book is empty, and trusted
Snapshot (52, 69)      a lost book is rebuilt, with the incrementals behind it
Definitions (54-56)    name, depth and group of an instrument

Market by order (47, 53 and the order entries of 46 and 48) is framed, checked and counted, and makes no
event; implied levels as well: the published book is the outright one. Prices are those on the wire, in
1e-9 units, without the display factor, which the definitions give.
"""
