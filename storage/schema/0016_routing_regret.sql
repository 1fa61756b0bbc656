-- What routed executions cost beside the best that was there. regret: money by which an execution cost more,
-- fees included, than what was displayed when the router decided (below 0: less); arrival_regret: than what was
-- displayed when it traded; saved: less than at the primary. NULL: no book of that time is stored. markout_*:
-- basis points by which the primary's mid had moved in our favour so long after. style: take, ping or post.
CREATE TABLE IF NOT EXISTS routing_regret (
    ts TIMESTAMP_NS,
    execution_id VARCHAR,
    order_id VARCHAR,
    parent_id VARCHAR,
    decision LONG,
    decision_ts TIMESTAMP_NS,
    destination SYMBOL CAPACITY 64,
    venue SYMBOL CAPACITY 64,
    symbol SYMBOL CAPACITY 16384,
    rule SYMBOL CAPACITY 256,
    side SYMBOL CAPACITY 4,
    style SYMBOL CAPACITY 4,
    price DOUBLE,
    quantity DOUBLE,
    fee DOUBLE,
    regret DOUBLE,
    regret_bps DOUBLE,
    arrival_regret DOUBLE,
    arrival_regret_bps DOUBLE,
    saved DOUBLE,
    saved_bps DOUBLE,
    markout_1s_bps DOUBLE,
    markout_10s_bps DOUBLE,
    markout_60s_bps DOUBLE,
    markout_300s_bps DOUBLE
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, destination, execution_id);
-- When and whose books that report asks for: the left side of its ASOF and HORIZON joins. kind: decision,
-- arrival or execution; id: what of.
CREATE TABLE IF NOT EXISTS routing_moments (
    ts TIMESTAMP_NS,
    kind SYMBOL CAPACITY 4,
    id VARCHAR,
    symbol SYMBOL CAPACITY 16384,
    book SYMBOL CAPACITY 64
) TIMESTAMP(ts) PARTITION BY DAY TTL 30 YEARS WAL
DEDUP UPSERT KEYS(ts, kind, id, book);
