-- rule: quote_fade
-- version: 1
-- venue: XNAS
-- about: Liquidity at the touch goes away and then the price goes through. On one side of the book the
--   best price, which held at least `size_min`, is left with at most `remaining` of it or is gone, and
--   before it comes back a trade prints at least `through_bps` beyond that price, all within `span`.
--   buy: the offer faded and was traded through; sell: the bid. strength is how far beyond the price the
--   trade was, in basis points; ref_price is the trade's price.
-- parameter: size_min double 400 shares at the best price before it fades
-- parameter: remaining double 0.34 part of them that is left, at most
-- parameter: through_bps double 3.0 basis points beyond the faded price, at least
-- parameter: span interval 500ms from the full quote to the trade, exclusive

-- One row an event and side of the book; direction is where the price goes when that side gives way.
-- A message may make a trade and a quote with one seq: the trade (kind 0) comes before what it left.
WITH book AS (
  SELECT symbol, 1 AS direction, event_time, seq, 1 AS kind, ask_price AS price, ask_size AS size
  FROM quotes WHERE ask_price IS NOT NULL
  UNION ALL
  SELECT symbol, -1 AS direction, event_time, seq, 1 AS kind, bid_price AS price, bid_size AS size
  FROM quotes WHERE bid_price IS NOT NULL
  UNION ALL
  SELECT symbol, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS direction, event_time, seq, 0 AS kind, price, size
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
    FULL_SIZE.seq AS first_seq,
    THROUGH.seq AS last_seq,
    THROUGH.price AS price,
    (THROUGH.price / FULL_SIZE.price - 1) * 10000 * FULL_SIZE.direction AS through_bps
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (FULL_SIZE FADING*? FADED AFTERWARDS*? THROUGH) WITHIN :span
  DEFINE
    FULL_SIZE AS FULL_SIZE.kind = 1 AND FULL_SIZE.size >= :size_min,
    FADING AS FADING.price = FULL_SIZE.price AND FADING.size < FULL_SIZE.size,
    FADED AS FADED.kind = 1 AND (
      (FADED.price - FULL_SIZE.price) * FULL_SIZE.direction > 0
      OR FADED.price = FULL_SIZE.price AND FADED.size <= :remaining * FULL_SIZE.size
    ),
    -- trades, and quotes but for those at the faded price or better with size again
    AFTERWARDS AS AFTERWARDS.kind = 0
      OR (AFTERWARDS.price - FULL_SIZE.price) * FULL_SIZE.direction > 0
      OR AFTERWARDS.price = FULL_SIZE.price AND AFTERWARDS.size <= :remaining * FULL_SIZE.size,
    THROUGH AS THROUGH.kind = 0
      AND (THROUGH.price / FULL_SIZE.price - 1) * 10000 * FULL_SIZE.direction >= :through_bps
)
