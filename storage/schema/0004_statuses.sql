-- State of an instrument, or of the whole venue where symbol is ''. reason: the venue's own code.
CREATE TABLE IF NOT EXISTS statuses (
    ts TIMESTAMP_NS,
    ts_recv TIMESTAMP_NS,
    venue SYMBOL CAPACITY 64,
    session SYMBOL CAPACITY 4096,
    symbol SYMBOL CAPACITY 16384,
    seq LONG,
    status SYMBOL CAPACITY 32,
    reason SYMBOL CAPACITY 256
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, session, seq, symbol);
