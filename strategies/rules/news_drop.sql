-- rule: news_drop
-- version: 1
-- venue: XNAS
-- about: A price falls on bad news. A story about the instrument has a score of `bad` or less, and within
--   `span` of it the middle of the quote lies `fall_bps` or more below where it was when the story came:
--   sell. It fires once a story, on the first quote that is so low. strength is the fall in basis points,
--   ref_price the middle there. Further stories in between change nothing. A story that its source says is
--   older than `fresh_s`, or of which it does not say when it was, is no news: when a source is asked for the
--   first time, all that it has is new here.
-- parameter: bad double -0.5 score of the story, at most
-- parameter: fall_bps double 20.0 basis points from the last quote before the story, at least
-- parameter: fresh_s int 600 seconds between what the source says and the story's event, at most
-- parameter: span interval 60s from the last quote before the story to the fall, exclusive

-- News have a topic of their own, so a story and a quote may have one seq: kind decides between them.
WITH stories_and_prices AS (
  SELECT symbol, event_time, seq, 0 AS kind, mid, CAST(0 AS DOUBLE) AS score
  FROM quotes
  WHERE mid IS NOT NULL
  UNION ALL
  SELECT symbol, event_time, seq, 1 AS kind, CAST(0 AS DOUBLE) AS mid, score
  FROM news
  WHERE score IS NOT NULL AND (ts_event - published) / 1000000000 <= :fresh_s
)
SELECT
  symbol,
  'sell' AS side,
  fall_bps AS strength,
  price AS ref_price,
  first_seq,
  last_seq
FROM stories_and_prices MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq, kind
  MEASURES
    STORY.seq AS first_seq,
    FALLEN.seq AS last_seq,
    FALLEN.mid AS price,
    ROUND((1 - FALLEN.mid / BEFORE.mid) * 10000, 6) AS fall_bps
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (BEFORE STORY HOLDING*? FALLEN) WITHIN :span
  DEFINE
    BEFORE AS BEFORE.kind = 0,
    STORY AS STORY.kind = 1 AND STORY.score <= :bad,
    FALLEN AS FALLEN.kind = 0 AND ROUND((1 - FALLEN.mid / BEFORE.mid) * 10000, 6) >= :fall_bps
)
