"""OKX's public market data, websocket API v5: the bytes of one connection in, normalised events out.

``messages`` and ``layout`` know the wire; ``protocol`` what to say to the venue. The rest is shared with
the other venues that stream their own snapshots (:mod:`ingest.websocket.decoder`,
:mod:`ingest.websocket.session`).

Books are the ``books`` channel (400 levels). An update follows the one whose seqId its prevSeqId names;
where the venue sends a checksum that is not 0 it is verified as well (it has sent 0 since June 2026, and no
seqId before 2022). Not covered: the tick-by-tick books, which need a login, and derivatives' funding and
open interest.
"""
