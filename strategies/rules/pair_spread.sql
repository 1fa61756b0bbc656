-- rule: pair_spread
-- version: 1
-- venue: XNAS
-- about: The spread of a pair, mid of leg A minus hedge ratio times mid of leg B, leaves its band.
--   Fires once when the spread, having been calm, comes to lie at least `entry` deviations from its
--   mean, and not again before it was calm once more. sell: the spread is high (sell A, buy B);
--   buy: it is low. strength is the distance in deviations, ref_price the spread in dollars.
-- parameter: leg_a string - first leg
-- parameter: leg_b string - second leg
-- parameter: hedge_ratio double - shares of leg B to a share of leg A
-- parameter: mean double - of the spread, dollars
-- parameter: deviation double - standard deviation of the spread, dollars
-- parameter: entry double 2.5 deviations from the mean at which it fires
-- parameter: calm double 1.5 deviations within which it is ready to fire (again)
-- parameter: stale interval 10s the longest time since a leg's last quote
-- parameter: drift interval 5min the longest way from calm to entry
-- set: ALFA~BRVO leg_a=ALFA leg_b=BRVO hedge_ratio=1.2 mean=9.90 deviation=0.20
-- set: ECHO~FXTR leg_a=ECHO leg_b=FXTR hedge_ratio=1.05 mean=12.3325 deviation=0.20

WITH legs AS (
  SELECT
    :leg_a || '~' || :leg_b AS symbol, event_time, seq,
    CASE WHEN symbol = :leg_a THEN mid END AS mid_a,
    CASE WHEN symbol = :leg_b THEN mid END AS mid_b,
    CASE WHEN symbol = :leg_a THEN event_time END AS time_a,
    CASE WHEN symbol = :leg_b THEN event_time END AS time_b
  FROM quotes
  WHERE symbol IN (:leg_a, :leg_b) AND mid IS NOT NULL
),
-- Both legs' last mid at each quote of either. RANGE lets every row of a millisecond see the whole of
-- it, so nothing depends on which leg's partition was read first. LAST_VALUE passes over NULLs.
both_legs AS (
  SELECT
    symbol, event_time, seq,
    LAST_VALUE(mid_a) OVER so_far AS mid_a, LAST_VALUE(time_a) OVER so_far AS time_a,
    LAST_VALUE(mid_b) OVER so_far AS mid_b, LAST_VALUE(time_b) OVER so_far AS time_b
  FROM legs
  WINDOW so_far AS (
    PARTITION BY symbol ORDER BY event_time RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  )
),
spreads AS (
  SELECT
    symbol, event_time, seq,
    mid_a - :hedge_ratio * mid_b AS spread,
    (mid_a - :hedge_ratio * mid_b - :mean) / :deviation AS z
  FROM both_legs
  WHERE event_time <= time_a + :stale AND event_time <= time_b + :stale
)
SELECT
  symbol,
  CASE WHEN z > 0 THEN 'sell' ELSE 'buy' END AS side,
  ABS(z) AS strength,
  spread AS ref_price,
  first_seq,
  last_seq
FROM spreads MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES
    CALM.seq AS first_seq,
    ENTRY.seq AS last_seq,
    ENTRY.z AS z,
    ENTRY.spread AS spread
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  -- the three exclude each other, so a pair has one partial match at a time: from its last calm row on
  PATTERN (CALM DRIFTING* ENTRY) WITHIN :drift
  DEFINE
    CALM AS ABS(CALM.z) <= :calm,
    DRIFTING AS ABS(DRIFTING.z) > :calm AND ABS(DRIFTING.z) < :entry,
    ENTRY AS ABS(ENTRY.z) >= :entry
)
