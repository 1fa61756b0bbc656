-- What a calibration found out about each candidate pair, admitted or with the reason why not. ts is the
-- end of the sample: before it the calibration knew the future. NULL: not looked at any more.
CREATE TABLE IF NOT EXISTS pair_calibrations (
    ts TIMESTAMP_NS,
    sample_from TIMESTAMP_NS,
    bar_s DOUBLE,
    venue SYMBOL CAPACITY 64,
    symbol SYMBOL CAPACITY 65536,
    leg_a SYMBOL CAPACITY 16384,
    leg_b SYMBOL CAPACITY 16384,
    method SYMBOL CAPACITY 16,
    admitted BOOLEAN,
    refused VARCHAR,
    hedge_ratio DOUBLE,
    mean DOUBLE,
    deviation DOUBLE,
    statistic DOUBLE,
    p_value DOUBLE,
    q_value DOUBLE,
    ar_coefficient DOUBLE,
    half_life_s DOUBLE,
    johansen_hedge_ratio DOUBLE,
    leg_a_p_value DOUBLE,
    leg_b_p_value DOUBLE,
    observations LONG,
    coverage DOUBLE
) TIMESTAMP(ts) PARTITION BY MONTH TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, symbol, method, bar_s);
