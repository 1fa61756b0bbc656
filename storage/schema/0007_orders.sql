-- One row a state change of an order: the highest revision is the state now.
CREATE TABLE IF NOT EXISTS orders (
    ts TIMESTAMP_NS,
    order_id VARCHAR,
    signal_id VARCHAR,
    rule SYMBOL CAPACITY 256,
    venue SYMBOL CAPACITY 64,
    symbol SYMBOL CAPACITY 16384,
    side SYMBOL CAPACITY 4,
    quantity DOUBLE,
    limit_price DOUBLE,
    state SYMBOL CAPACITY 16,
    filled_quantity DOUBLE,
    average_price DOUBLE,
    reason VARCHAR,
    revision LONG
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, order_id, revision);
