"""Databento Binary Encoding (DBN), versions 1 to 3: layouts, metadata, decoder, books, files, live gateway.

What it is
----------
A file (plain, zstd or gzip) begins with metadata: dataset, schema, and which instrument id stood for which
symbol on which days. Then come records, little-endian, each with its length in words of four bytes, its
type, the publisher's id, the instrument's id and the venue's time. Prices are int64 in units of 1e-9, which
are ours. A DBN session has the venue's name and a session ``YYYYMMDD.DBN.<SCHEMA>.<id>``, whatever the
venue's own feed is, so that bought history lies beside what was captured.

What is made of it
------------------
trades            a trade; ``A`` sold, ``B`` bought, ``N`` is not known
mbp-1, tbbo       a quote where the best prices or sizes changed; a trade of action T (in tbbo the quote is
                  what stood before that trade)
mbp-10            deltas of the ten best levels of a side (0: gone, or deeper than ten), quote, trade; the
                  first record of an instrument is BOOK_SYNCED
mbo               deltas and, when an event is complete (F_LAST), the quote of the full book; trades of action
                  T. The book is built from a clear (R) on, with the snapshot behind it: without one, nobody
                  knows what rests, and orders are counted as ``unbooked``
status            a status, with action, reason and trading event as reason: ``7/1/0``
definition,       names of instrument ids that the metadata does not map; no event
symbol-mapping
all others        (ohlcv, statistics, imbalance, bbo, cmbp-1 ..., system, error) have no place among events of
                  a feed: each counted by its name, ``unplaced_ohlcv_1m``

F_MAYBE_BAD_BOOK makes a book BOOK_LOST until a record comes without it (mbp) or a clear (mbo). A session has
one publisher, the first: records of others are counted (``foreign_publisher``).

Numbers
-------
``seq`` counts the file's records from 1, or those of a live session's capture: the venue's own numbers are
those of its channel, of which a file has some symbols only. So holes are not seen here; Databento marks them
by its flag. Live, what is missing between two connections is known, and takes a number (:mod:`.session`).

Sources: Databento, "Databento Binary Encoding" and "Common fields, enums and types"; layouts as in the
package ``databento-dbn`` 0.72.
"""
