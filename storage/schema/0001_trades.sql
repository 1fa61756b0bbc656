-- Executed trades, one row a (venue, session, seq, symbol).
--
-- ts is the venue's event time; price and size are doubles that carry 1e-9 units exactly.
-- The DEDUP keys are the identity of an event: writing it again replaces the row by its equal, which is
-- what makes at-least-once delivery count once.
-- TTL counts from the newest row (or from now, whichever is earlier), and what is older is dropped
-- without a word: it has to exceed the age of any day that may still be loaded, hence decades. The
-- writer reads the TTL in force and refuses older rows, so it can be shortened to what the disk holds:
--   ALTER TABLE trades SET TTL 90 DAYS;
-- No column is indexed: a scan of a day by symbol is a matter of milliseconds, an index slows every write.
CREATE TABLE IF NOT EXISTS trades (
    ts TIMESTAMP_NS,
    ts_recv TIMESTAMP_NS,
    venue SYMBOL CAPACITY 64,
    session SYMBOL CAPACITY 4096,
    symbol SYMBOL CAPACITY 16384,
    seq LONG,
    price DOUBLE,
    size DOUBLE,
    side SYMBOL CAPACITY 4,
    condition SYMBOL CAPACITY 16,
    venue_id LONG
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, session, seq, symbol);
