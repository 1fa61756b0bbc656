-- Best bid and offer after each message that changed it. NULL price: nothing on that side.
CREATE TABLE IF NOT EXISTS quotes (
    ts TIMESTAMP_NS,
    ts_recv TIMESTAMP_NS,
    venue SYMBOL CAPACITY 64,
    session SYMBOL CAPACITY 4096,
    symbol SYMBOL CAPACITY 16384,
    seq LONG,
    bid_price DOUBLE,
    bid_size DOUBLE,
    ask_price DOUBLE,
    ask_size DOUBLE,
    venue_id LONG
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, session, seq, symbol);
