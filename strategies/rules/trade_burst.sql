-- rule: trade_burst
-- version: 1
-- venue: XNAS
-- about: Somebody sweeps the book: a run of trades with aggressors of one side, none of the other in
--   between, moves the price. Fires at the first trade with which the run has at least `trades` trades
--   and has moved the price by at least `move_bps` in their direction, all within `span`. The side is
--   the aggressors': momentum. strength is the move in basis points, ref_price the last trade's price.
-- parameter: trades int 6 trades in the run, at least
-- parameter: move_bps double 8.0 basis points from the first to the last trade, at least
-- parameter: span interval 1s from the first to the last trade, exclusive

WITH aggressive AS (
  SELECT symbol, event_time, seq, price, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS direction
  FROM trades
  WHERE side <> 'none' AND `condition` = 'regular'
)
SELECT
  symbol,
  CASE WHEN direction > 0 THEN 'buy' ELSE 'sell' END AS side,
  move_bps AS strength,
  last_price AS ref_price,
  first_seq,
  last_seq
FROM aggressive MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES
    HEAD.seq AS first_seq,
    TAIL.seq AS last_seq,
    HEAD.direction AS direction,
    TAIL.price AS last_price,
    ROUND((TAIL.price / HEAD.price - 1) * 10000 * HEAD.direction, 6) AS move_bps
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  -- *? is reluctant: the run ends with the first trade that will do. ROUND, so that 8 bps are 8 bps.
  PATTERN (HEAD RUN*? TAIL) WITHIN :span
  DEFINE
    HEAD AS TRUE,
    RUN AS RUN.direction = HEAD.direction,
    TAIL AS TAIL.direction = HEAD.direction
      AND COUNT(RUN.seq) + 2 >= :trades
      AND ROUND((TAIL.price / HEAD.price - 1) * 10000 * HEAD.direction, 6) >= :move_bps
)
