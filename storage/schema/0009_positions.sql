-- What was held of an instrument, and its profit and loss, each time it changed.
CREATE TABLE IF NOT EXISTS positions (
    ts TIMESTAMP_NS,
    symbol SYMBOL CAPACITY 16384,
    venue SYMBOL CAPACITY 64,
    quantity DOUBLE,
    average_price DOUBLE,
    realised_pnl DOUBLE,
    unrealised_pnl DOUBLE,
    mid DOUBLE
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, symbol);
