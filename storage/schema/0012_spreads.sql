-- Spread of a pair after each quote of a leg, whose times and seq it has; computed by the features job.
-- calibration: version of the frozen calibrations that z is by (strategies/pairs/VENUE.toml), part of the
-- identity: computed again by others, a spread is another one. z_rolling: NULL until enough was seen.
CREATE TABLE IF NOT EXISTS spreads (
    ts TIMESTAMP_NS,
    ts_recv TIMESTAMP_NS,
    venue SYMBOL CAPACITY 64,
    session SYMBOL CAPACITY 4096,
    symbol SYMBOL CAPACITY 16384,
    seq LONG,
    spread DOUBLE,
    z DOUBLE,
    z_rolling DOUBLE,
    mid_a DOUBLE,
    mid_b DOUBLE,
    age_ns LONG,
    calibration LONG,
    state SYMBOL CAPACITY 4
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, session, seq, symbol, calibration);
