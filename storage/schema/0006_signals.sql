-- A rule fired. ts is the event time of the match, ts_signal the wall clock when it was raised.
CREATE TABLE IF NOT EXISTS signals (
    ts TIMESTAMP_NS,
    ts_signal TIMESTAMP_NS,
    rule SYMBOL CAPACITY 256,
    version SYMBOL CAPACITY 256,
    symbol SYMBOL CAPACITY 16384,
    side SYMBOL CAPACITY 4,
    strength DOUBLE,
    ref_price DOUBLE,
    first_seq LONG,
    last_seq LONG,
    signal_id VARCHAR,
    venue SYMBOL CAPACITY 64
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, signal_id);
