-- What each parent order cost (docs/costs.md). ts: event time when it was sent. Money in the venue's currency, a cost
-- above 0; delay + market + spread + opportunity + fees = shortfall. notional: quantity at decision_mid, which basis
-- points are of. impact_bps, model_bps: measured, and what the impact model says.
CREATE TABLE IF NOT EXISTS order_costs (
    ts TIMESTAMP_NS,
    ts_signal TIMESTAMP_NS,
    ts_end TIMESTAMP_NS,
    order_id VARCHAR,
    signal_id VARCHAR,
    rule SYMBOL CAPACITY 256,
    venue SYMBOL CAPACITY 64,
    symbol SYMBOL CAPACITY 16384,
    side SYMBOL CAPACITY 4,
    state SYMBOL CAPACITY 16,
    currency SYMBOL CAPACITY 16,
    quantity DOUBLE,
    filled_quantity DOUBLE,
    average_price DOUBLE,
    decision_mid DOUBLE,
    arrival_mid DOUBLE,
    end_mid DOUBLE,
    vwap DOUBLE,
    day_vwap DOUBLE,
    close DOUBLE,
    notional DOUBLE,
    delay DOUBLE,
    market DOUBLE,
    spread DOUBLE,
    opportunity DOUBLE,
    fees DOUBLE,
    shortfall DOUBLE,
    interval_volume DOUBLE,
    impact_bps DOUBLE,
    model_bps DOUBLE
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, order_id);
