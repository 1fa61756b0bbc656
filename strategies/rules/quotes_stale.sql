-- rule: quotes_stale
-- kind: absence
-- version: 1
-- venue: XNAS
-- about: The quotes of a stock have stopped while it trades: no change of its best bid or offer for
--   `silence`, and in that time at least `prints` trades. What trades now is better informed than what
--   is quoted: the side is where the last of them went, seen from the quote that stands (buy: above
--   its mid). strength is that distance in basis points, ref_price the last trade's price. Fires once
--   in a silence, as soon as both are true, and not when the silence is `longest` old or more.
-- parameter: silence interval 2s since the last quote, at least
-- parameter: prints int 3 trades in that time, at least
-- parameter: longest interval 1min since the last quote, exclusive: older is no longer news
-- parameter: away_bps double 2.0 basis points between the last trade and the mid, at least

SELECT
  symbol,
  CASE WHEN away_bps > 0 THEN 'buy' ELSE 'sell' END AS side,
  ABS(away_bps) AS strength,
  price AS ref_price,
  first_seq,
  last_seq
FROM ABSENCE (
  PARTITION BY symbol
  EXPECT quotes WITHIN :silence
  WHILE trades WHERE `condition` = 'regular' AT LEAST :prints UNTIL :longest
  UNLESS statuses WHERE status IN ('halted', 'paused', 'book_lost')
  MEASURES
    quotes.seq AS first_seq,
    LAST(trades.seq) AS last_seq,
    LAST(trades.price) AS price,
    ROUND((LAST(trades.price) / quotes.mid - 1) * 10000, 6) AS away_bps
)
WHERE ABS(away_bps) >= :away_bps
