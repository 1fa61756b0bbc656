-- rule: quote_stuffing
-- version: 1
-- venue: XNAS
-- about: One side of the book flickers and nobody trades. Within `span` the best offer or its size
--   changes `changes` times or more while the bid does not move by a share, nothing trades, and in the
--   end the offer is where it was. Orders that are placed to be seen are not meant to be filled, so the
--   side is the other one: buy when the offer flickers, sell when the bid does. strength is the number
--   of changes, ref_price the flickering price, which is the one to trade at.
-- parameter: changes int 20 changes of one side in a row, at least
-- parameter: span interval 250ms from the first quote to the last, exclusive

-- Every quote once for each side that may flicker; a trade for both. One message may make a trade and a
-- quote with the same seq: the trade (kind 0) comes before what it left.
WITH book AS (
  SELECT symbol, 1 AS direction, event_time, seq, 1 AS kind,
    ask_price AS price, bid_price AS still_price, bid_size AS still_size
  FROM quotes WHERE mid IS NOT NULL
  UNION ALL
  SELECT symbol, -1 AS direction, event_time, seq, 1 AS kind,
    bid_price AS price, ask_price AS still_price, ask_size AS still_size
  FROM quotes WHERE mid IS NOT NULL
  UNION ALL
  SELECT symbol, 1 AS direction, event_time, seq, 0 AS kind,
    price, price AS still_price, size AS still_size
  FROM trades
  UNION ALL
  SELECT symbol, -1 AS direction, event_time, seq, 0 AS kind,
    price, price AS still_price, size AS still_size
  FROM trades
)
SELECT
  symbol,
  CASE WHEN direction > 0 THEN 'buy' ELSE 'sell' END AS side,
  CAST(flickers AS DOUBLE) AS strength,
  price AS ref_price,
  first_seq,
  last_seq
FROM book MATCH_RECOGNIZE (
  PARTITION BY symbol, direction
  ORDER BY event_time, seq, kind
  MEASURES
    CALM.seq AS first_seq,
    BACK.seq AS last_seq,
    BACK.price AS price,
    COUNT(FLICKER.seq) + 1 AS flickers
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  -- Each quote is a change of one side or the other: the still side has not changed, so the other has.
  PATTERN (CALM FLICKER*? BACK) WITHIN :span
  DEFINE
    CALM AS CALM.kind = 1,
    FLICKER AS FLICKER.kind = 1
      AND FLICKER.still_price = CALM.still_price AND FLICKER.still_size = CALM.still_size,
    BACK AS BACK.kind = 1
      AND BACK.still_price = CALM.still_price AND BACK.still_size = CALM.still_size
      AND BACK.price = CALM.price
      AND COUNT(FLICKER.seq) + 1 >= :changes
)
