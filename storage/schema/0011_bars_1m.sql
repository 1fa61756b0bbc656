-- Bars of one minute per venue and symbol; see 0010_bars_1s.sql. From trades, not from the bars of one
-- second: a view over a view is refreshed later, and gains nothing at these rates.
CREATE MATERIALIZED VIEW IF NOT EXISTS bars_1m WITH BASE trades REFRESH IMMEDIATE AS (
    SELECT
        ts,
        venue,
        symbol,
        arg_min(price, seq) AS open,
        max(price) AS high,
        min(price) AS low,
        arg_max(price, seq) AS close,
        sum(size) AS volume,
        count() AS trades,
        sum(price * size) / sum(size) AS vwap
    FROM trades
    WHERE condition != 'broken' AND size > 0
    SAMPLE BY 1m
) PARTITION BY MONTH TTL 30 YEARS;
