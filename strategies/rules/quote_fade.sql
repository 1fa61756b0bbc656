-- rule: quote_fade
-- version: 1
-- venue: XNAS
-- about: Liquidity at the touch has faded on one side, and the price goes through it. The size at the
--   best offer is at most `thin` times that at the best bid, which is `size_min` or more; and less than
--   `span` later a buyer pays at least `through_bps` above that offer: buy. The same with bid and offer
--   exchanged: sell. strength is how far beyond the faded price the trade was, in basis points;
--   ref_price is the trade's price.
-- parameter: size_min double 400 shares at the best price of the side that did not fade, at least
-- parameter: thin double 0.25 part of them on the side that faded, at most
-- parameter: through_bps double 6.0 basis points beyond the faded price, at least
-- parameter: span interval 300ms from the thin quote to the trade, exclusive

-- Thin quotes and trades; direction is where the price goes when that side of the book gives way. One
-- message may make a trade and a quote with the same seq: the trade (kind 0) comes before what it left.
WITH book AS (
  SELECT symbol, 1 AS direction, event_time, seq, 1 AS kind, ask_price AS price
  FROM quotes WHERE bid_size >= :size_min AND ask_size <= :thin * bid_size AND ask_price IS NOT NULL
  UNION ALL
  SELECT symbol, -1 AS direction, event_time, seq, 1 AS kind, bid_price AS price
  FROM quotes WHERE ask_size >= :size_min AND bid_size <= :thin * ask_size AND bid_price IS NOT NULL
  UNION ALL
  SELECT symbol, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS direction, event_time, seq, 0 AS kind, price
  FROM trades WHERE side <> 'none' AND `condition` = 'regular'
)
SELECT
  symbol,
  CASE WHEN direction > 0 THEN 'buy' ELSE 'sell' END AS side,
  through_bps AS strength,
  price AS ref_price,
  first_seq,
  last_seq
FROM book MATCH_RECOGNIZE (
  PARTITION BY symbol, direction
  ORDER BY event_time, seq, kind
  MEASURES
    THIN.seq AS first_seq,
    THROUGH.seq AS last_seq,
    THROUGH.price AS price,
    ROUND((THROUGH.price / THIN.price - 1) * 10000 * THIN.direction, 6) AS through_bps
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  -- *? is reluctant: the match ends with the first trade that went far enough. ROUND, so that 6 bps are
  -- 6 bps and not 5.999999999.
  PATTERN (THIN PENDING*? THROUGH) WITHIN :span
  DEFINE
    THIN AS THIN.kind = 1,
    PENDING AS TRUE,
    THROUGH AS THROUGH.kind = 0
      AND ROUND((THROUGH.price / THIN.price - 1) * 10000 * THIN.direction, 6) >= :through_bps
)
