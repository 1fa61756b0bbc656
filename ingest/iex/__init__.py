"""IEX DEEP 1.0 and TOPS 1.6 over IEX-TP: layouts, sequencer, book by price level, decoder, files.

What the feeds are
------------------
DEEP sends the book of each security as price levels with their new total size, TOPS its best quote. Both
send trades, statuses and auction information, little-endian, prices with four implied decimals, times in ns
since 1970. Messages travel in IEX-TP segments over UDP: a head of 40 bytes (version, protocol, channel,
session, payload length, message count, stream offset, number of the first message, send time), then each
message behind its length. A segment without messages is a heartbeat; its number is the next one to come.

What is made of them
--------------------
8 5        (DEEP) a delta. A quote where the top changed and the event is complete: until the venue's flag
           says so, the book is between two states, and no top of it is shown. A book that is crossed then
           is BOOK_LOST until it is not (BOOK_SYNCED), and counted
Q          (TOPS) a quote, each one
T          a trade; the aggressor's side is not sent. A single-price cross has condition CROSS
B          a trade with condition BROKEN, no price, no size, and the trade id of what is taken back
S          a status of the venue
H O        a status: HALTED while either of both says so; else what the last H said
P          SHORT_SALE_RESTRICTED or SHORT_SALE_FREE, with the detail as reason
E I X      a status OTHER, reasons "SEC O", "RLI A", "XPR Q": security event, retail interest, official price
D A        security directory, auction information: checked and counted, no event

Messages may grow, the specification says: what is behind the known fields is passed over and counted
(``longer``). Messages of one type and symbol are in order of time, others are not: a watermark has its
lateness.

Numbers
-------
The exchange may begin again at 1 within a day, in the same session or a new one. ``seq`` is then the number
in the present run plus all that were used before; the restart itself takes some (docs/decisions/0002).
A segment is of a new run where its numbers were all there and it is none the less newer: sent later, with a
message later than any that came; or a heartbeat that goes back a second after the last segment; or another
session, from its first message on or seen twice. At a restart each level and quote that was shown is taken
back, and the venue is BOOK_SYNCED with reason RESTART.

A hole is given up, and is a gap event with its range, once a second (of send time) or 1,024 packets wait
behind it, or the file ends. A live session gives it up sooner, by a record of the capture. The exchange has a
server that fills gaps (IEX Transport Specification 1.25, "Gap Fill Request"); it is not asked: no reliable
public text of that request's layout was found to hold an implementation to.

Live
----
:mod:`ingest.iex.session` captures lines A, B, ... over UDP, multicast or unicast, by the session of all such
feeds (:mod:`ingest.udp`). A capture session is a day of the venue's, ``YYYYMMDD.DEEP10`` or
``YYYYMMDD.TOPS16``, as the head of its first segment says.

Sources: IEX Transport Specification (IEX-TP version 1); DEEP specification 1.06 (2018-02-27); TOPS
specification 1.66 (2021-10-19), for the retail liquidity indicator and the changes since.
"""
