-- Fills; execution_id is the venue's own and unique on it.
CREATE TABLE IF NOT EXISTS executions (
    ts TIMESTAMP_NS,
    execution_id VARCHAR,
    order_id VARCHAR,
    venue SYMBOL CAPACITY 64,
    symbol SYMBOL CAPACITY 16384,
    side SYMBOL CAPACITY 4,
    price DOUBLE,
    quantity DOUBLE,
    ts_recv TIMESTAMP_NS
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, execution_id);
