-- A story and an instrument that it names (venue and symbol of the instrument, empty where it names none).
-- ts: when its score was there, which is when the event went out; ts_recv: when the document came; published: what
-- the source says. score: -1 to 1, NULL without one; words: of the lexicon that were found. model: name/version.
CREATE TABLE IF NOT EXISTS news (
    ts TIMESTAMP_NS,
    ts_recv TIMESTAMP_NS,
    feed SYMBOL CAPACITY 64,
    session SYMBOL CAPACITY 4096,
    venue SYMBOL CAPACITY 64,
    symbol SYMBOL CAPACITY 16384,
    seq LONG,
    source SYMBOL CAPACITY 1024,
    story VARCHAR,
    headline VARCHAR,
    link VARCHAR,
    published TIMESTAMP_NS,
    score DOUBLE,
    words LONG,
    model SYMBOL CAPACITY 64
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, feed, session, seq, venue, symbol);
