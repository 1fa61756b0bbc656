-- rule: opening_range
-- version: 1
-- venue: XNAS
-- about: The price leaves the range of the opening minutes. The opening auction begins it, and the
--   trades of the next `opening` make it; the first trade after that which lies beyond it by
--   `beyond_bps` fires, once a day, if it comes within `morning` of the auction. buy: above the range;
--   sell: below. strength is the distance from the range in basis points, ref_price the trade's price.
--   Odd lots move no range: what they pay is nobody's price.
-- parameter: opening interval 5min from the auction on, whose trades make the range
-- parameter: morning interval 1h from the auction on, in which it may fire, exclusive
-- parameter: beyond_bps double 5.0 basis points outside the range, at least
-- parameter: round_lot double 100 shares of a trade that counts, at least
-- parameter: open_before int 18 hour (UTC) before which an auction is an opening one

WITH prints AS (
  SELECT symbol, event_time, seq, price,
    CASE WHEN `condition` = 'cross' THEN 1 ELSE 0 END AS auction,
    MOD(ts_event / 3600000000000, 24) AS utc_hour
  FROM trades
  WHERE (`condition` = 'regular' OR `condition` = 'cross') AND size >= :round_lot
)
SELECT
  symbol,
  CASE WHEN price > high THEN 'buy' ELSE 'sell' END AS side,
  CASE WHEN price > high THEN ROUND((price / high - 1) * 10000, 6)
    ELSE ROUND((1 - price / low) * 10000, 6) END AS strength,
  price AS ref_price,
  first_seq,
  last_seq
FROM prints MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES
    AUCTION.seq AS first_seq,
    OUT_OF_IT.seq AS last_seq,
    OUT_OF_IT.price AS price,
    GREATEST(AUCTION.price, MAX(RANGING.price)) AS high,
    LEAST(AUCTION.price, MIN(RANGING.price)) AS low
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  -- An auction is rare, so a symbol has one partial match, and RANGING and INSIDE exclude each other in
  -- time. (Flink refuses the greedy RANGING+ before a variable that may have no row.)
  PATTERN (AUCTION RANGING+? INSIDE*? OUT_OF_IT) WITHIN :morning
  DEFINE
    AUCTION AS AUCTION.auction = 1 AND AUCTION.utc_hour < :open_before,
    RANGING AS RANGING.auction = 0 AND RANGING.event_time < AUCTION.event_time + :opening,
    INSIDE AS INSIDE.auction = 0 AND INSIDE.event_time >= AUCTION.event_time + :opening,
    OUT_OF_IT AS OUT_OF_IT.auction = 0 AND OUT_OF_IT.event_time >= AUCTION.event_time + :opening
      AND (
        ROUND((OUT_OF_IT.price / GREATEST(AUCTION.price, MAX(RANGING.price)) - 1) * 10000, 6) >= :beyond_bps
        OR ROUND((1 - OUT_OF_IT.price / LEAST(AUCTION.price, MIN(RANGING.price))) * 10000, 6) >= :beyond_bps
      )
)
