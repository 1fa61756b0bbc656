-- Each execution beside the market of its moment (docs/costs.md). ts: the venue's clock. capture: share of the
-- quoted spread that was earned. markout: how far the mid had gone our way so much later; NULL behind the day's end.
-- early: the venue's time is before that of the sending, so its clock, or its market data, was behind.
CREATE TABLE IF NOT EXISTS execution_costs (
    ts TIMESTAMP_NS,
    execution_id VARCHAR,
    parent_id VARCHAR,
    rule SYMBOL CAPACITY 256,
    venue SYMBOL CAPACITY 64,
    destination SYMBOL CAPACITY 64,
    symbol SYMBOL CAPACITY 16384,
    side SYMBOL CAPACITY 4,
    liquidity SYMBOL CAPACITY 4,
    price DOUBLE,
    quantity DOUBLE,
    fee DOUBLE,
    bid_price DOUBLE,
    ask_price DOUBLE,
    arrival_mid DOUBLE,
    effective_bps DOUBLE,
    quoted_bps DOUBLE,
    capture DOUBLE,
    realised_bps DOUBLE,
    markout_1s_bps DOUBLE,
    markout_10s_bps DOUBLE,
    markout_60s_bps DOUBLE,
    markout_300s_bps DOUBLE,
    early BOOLEAN
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, destination, execution_id);
