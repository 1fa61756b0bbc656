-- New total size of a price level (0: gone); side 'buy' is the bid.
-- One message may move several levels, so side and price belong to the identity. Hourly partitions: by
-- far the largest table, and late rows rewrite the partition they fall into.
CREATE TABLE IF NOT EXISTS book_deltas (
    ts TIMESTAMP_NS,
    ts_recv TIMESTAMP_NS,
    venue SYMBOL CAPACITY 64,
    session SYMBOL CAPACITY 4096,
    symbol SYMBOL CAPACITY 16384,
    seq LONG,
    side SYMBOL CAPACITY 4,
    price DOUBLE,
    size DOUBLE,
    venue_id LONG
) TIMESTAMP(ts) PARTITION BY HOUR TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, session, seq, symbol, side, price);
