-- Changes of trust (ingest/trust.py): an instrument, or the venue's line where symbol is '', is from ts on trusted,
-- stale (nothing came for longer than its limit) or broken (what is known of it may be wrong). Times are those of
-- the receive clock: ts, since when; ts_recv, when it could be known. at_seq: the last event before it.
-- first_missing, last_missing: the source's own numbers, where a gap is the reason, or was repaired; else 0.
CREATE TABLE IF NOT EXISTS trust (
    ts TIMESTAMP_NS,
    ts_recv TIMESTAMP_NS,
    venue SYMBOL CAPACITY 64,
    session SYMBOL CAPACITY 4096,
    symbol SYMBOL CAPACITY 16384,
    seq LONG,
    state SYMBOL CAPACITY 4,
    reason SYMBOL CAPACITY 16,
    first_missing LONG,
    last_missing LONG,
    at_seq LONG
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, venue, session, seq, symbol);
-- The state of each instrument now, the worse of its own and its line's. At a time T: the same query over
-- (SELECT * FROM trust WHERE ts <= T), as storage.trust.read_trust does.
CREATE VIEW IF NOT EXISTS trust_now AS (
    WITH latest AS (SELECT * FROM trust LATEST ON ts PARTITION BY venue, symbol)
    SELECT
        i.venue AS venue,
        i.symbol AS symbol,
        CASE
            WHEN i.state = 'broken' OR l.state = 'broken' THEN 'broken'
            WHEN i.state = 'stale' OR l.state = 'stale' THEN 'stale'
            ELSE 'trusted'
        END AS state,
        i.state AS own_state,
        i.reason AS reason,
        i.ts AS since,
        i.first_missing AS first_missing,
        i.last_missing AS last_missing,
        l.state AS line_state,
        l.reason AS line_reason,
        l.ts AS line_since
    FROM latest AS i
    LEFT JOIN (SELECT * FROM latest WHERE coalesce(symbol, '') = '') AS l ON i.venue = l.venue
    WHERE coalesce(i.symbol, '') != ''
);
