-- Bars of one second per venue and symbol, refreshed after every transaction on trades.
--
-- open and close go by seq, not by first() and last(): trades of one millisecond share their ts, and
-- QuestDB keeps rows of equal ts in no particular order. Rows that report a trade broken, and crosses
-- that executed nothing (size 0, price 0), are no trades. A broken trade itself stays in its bar.
CREATE MATERIALIZED VIEW IF NOT EXISTS bars_1s WITH BASE trades REFRESH IMMEDIATE AS (
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
    SAMPLE BY 1s
) PARTITION BY DAY TTL 30 YEARS;
