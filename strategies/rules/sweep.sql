-- rule: sweep
-- version: 1
-- venue: XNAS
-- about: One order takes several price levels at once. Trades with aggressors of one side, each level
--   worse for them than the one before, reach the third level within `span`, `shares` shares or more in
--   all. Somebody wanted the shares more than the price: the side is theirs. strength is the way from
--   the first to the third level in basis points, ref_price the third level's price. An order that goes
--   on to a sixth level fires twice; repeat_ms_min in strategies/limits.toml trades it once.
-- parameter: shares double 500 shares in all, at least
-- parameter: span interval 10ms from the first trade to the first at the third level, exclusive

WITH fills AS (
  SELECT symbol, event_time, seq, price, size, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS direction
  FROM trades
  WHERE side <> 'none' AND `condition` = 'regular'
)
SELECT
  symbol,
  CASE WHEN direction > 0 THEN 'buy' ELSE 'sell' END AS side,
  depth_bps AS strength,
  price AS ref_price,
  first_seq,
  last_seq
FROM fills MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES
    LEVEL_1.seq AS first_seq,
    LEVEL_3.seq AS last_seq,
    LEVEL_1.direction AS direction,
    LEVEL_3.price AS price,
    ROUND((LEVEL_3.price / LEVEL_1.price - 1) * 10000 * LEVEL_1.direction, 6) AS depth_bps
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  -- A level may give several fills, one for each order that rested there. Whether a fill is of the same
  -- level or of a worse one excludes the other, so each beginning is one partial match.
  PATTERN (LEVEL_1 LEVEL_1_MORE* LEVEL_2 LEVEL_2_MORE* LEVEL_3) WITHIN :span
  DEFINE
    LEVEL_1 AS TRUE,
    LEVEL_1_MORE AS LEVEL_1_MORE.direction = LEVEL_1.direction AND LEVEL_1_MORE.price = LEVEL_1.price,
    LEVEL_2 AS LEVEL_2.direction = LEVEL_1.direction
      AND (LEVEL_2.price - LEVEL_1.price) * LEVEL_1.direction > 0,
    LEVEL_2_MORE AS LEVEL_2_MORE.direction = LEVEL_1.direction AND LEVEL_2_MORE.price = LEVEL_2.price,
    LEVEL_3 AS LEVEL_3.direction = LEVEL_1.direction
      AND (LEVEL_3.price - LEVEL_2.price) * LEVEL_1.direction > 0
      AND LEVEL_1.size + COALESCE(SUM(LEVEL_1_MORE.size), 0) + LEVEL_2.size + COALESCE(SUM(LEVEL_2_MORE.size), 0)
        + LEVEL_3.size >= :shares
)
