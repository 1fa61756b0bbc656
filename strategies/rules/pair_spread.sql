-- rule: pair_spread
-- version: 2
-- venue: XNAS
-- about: The spread of a pair, mid of leg A minus hedge ratio times mid of leg B, leaves its band.
--   Fires once when the spread, having been calm, comes to lie at least `entry` deviations from its
--   mean, and not again before it was calm once more. sell: the spread is high (sell A, buy B);
--   buy: it is low. strength is the distance in deviations, ref_price the spread in dollars. Pairs,
--   hedge ratios, means and deviations are the frozen calibrations in strategies/pairs/XNAS.toml.
-- parameter: calibration int 2340424878 version of the calibrations; see `tickloom pairs list`
-- parameter: entry double 2.5 deviations from the mean at which it fires
-- parameter: calm double 1.5 deviations within which it is ready to fire (again)
-- parameter: drift interval 5min the longest way from calm to entry

-- The features job has computed the spreads, for every pair and whichever leg moved. A leg that is halted
-- or whose book is not trusted ends a match that is under way: what moved meanwhile, nobody knows.
WITH ours AS (
  SELECT symbol, event_time, seq, spread, CASE WHEN state = 'good' THEN z END AS z
  FROM spreads
  WHERE calibration = :calibration
)
SELECT
  symbol,
  CASE WHEN z > 0 THEN 'sell' ELSE 'buy' END AS side,
  ABS(z) AS strength,
  spread AS ref_price,
  first_seq,
  last_seq
FROM ours MATCH_RECOGNIZE (
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
