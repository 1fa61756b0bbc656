-- Source messages first_missing to last_missing (inclusive, the source's own numbers) that never came.
CREATE TABLE IF NOT EXISTS gaps (
    ts TIMESTAMP_NS,
    ts_recv TIMESTAMP_NS,
    venue SYMBOL CAPACITY 64,
    session SYMBOL CAPACITY 4096,
    symbol SYMBOL CAPACITY 16384,
    seq LONG,
    first_missing LONG,
    last_missing LONG,
    reason SYMBOL CAPACITY 16
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, session, seq, symbol);
