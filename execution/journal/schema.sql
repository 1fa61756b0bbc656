-- The agent's journal. Quantities and prices: int64 nanos; times: ns since the epoch; filled_value: decimal
-- text of an integer in 1e-18 units, which 64 bits do not hold. What grows with each signal is no WITHOUT ROWID table:
-- its ids are hashes, and a row of 300 to 2,000 bytes in a random place of the tree dirtied a page or two each, which
-- each commit writes; behind an index of ids alone rows are appended (835 us of CPU a signal became 600).
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Every signal ever consumed, with what became of it: accepted or refused.
CREATE TABLE signals (
    signal_id TEXT PRIMARY KEY NOT NULL,
    ts INTEGER NOT NULL,
    ts_event INTEGER NOT NULL,
    rule TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'refused')),
    reason TEXT NOT NULL,
    payload TEXT NOT NULL
);

-- The current revision of each order. sent: 1 if it may have left, so the venue may know it. venue: whose
-- instrument it is; destination: where it went, if that is elsewhere. child_number: counts the orders of parent_id.
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY NOT NULL,
    signal_id TEXT NOT NULL,
    leg INTEGER NOT NULL,
    rule TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    limit_price INTEGER NOT NULL,
    time_in_force TEXT NOT NULL,
    state TEXT NOT NULL,
    ts_created INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    filled_quantity INTEGER NOT NULL,
    filled_value TEXT NOT NULL,
    venue_order_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    revision INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    parent_id TEXT NOT NULL DEFAULT '',
    destination TEXT NOT NULL DEFAULT '',
    order_type TEXT NOT NULL DEFAULT 'limit',
    min_quantity INTEGER NOT NULL DEFAULT 0,
    post_only INTEGER NOT NULL DEFAULT 0,
    original_order_id TEXT NOT NULL DEFAULT '',
    busted_quantity INTEGER NOT NULL DEFAULT 0,
    child_number INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX orders_open ON orders (state) WHERE state NOT IN
    ('cancelled', 'done_for_day', 'expired', 'filled', 'rejected', 'replaced');
CREATE INDEX orders_children ON orders (parent_id, child_number) WHERE parent_id != '';
CREATE INDEX orders_replacing ON orders (original_order_id) WHERE original_order_id != '';

-- What the router decided for a parent, and the books it saw, as JSON; committed with the orders it makes.
CREATE TABLE routes (
    parent_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    decision TEXT NOT NULL,
    PRIMARY KEY (parent_id, number)
);

-- What the pre-trade gate measured of an order: every check's value and limit, as JSON.
CREATE TABLE verdicts (order_id TEXT PRIMARY KEY NOT NULL, ts INTEGER NOT NULL, verdict TEXT NOT NULL);

-- Each change of state, kept.
CREATE TABLE order_revisions (
    order_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    filled_quantity INTEGER NOT NULL,
    reason TEXT NOT NULL,
    ts INTEGER NOT NULL,
    PRIMARY KEY (order_id, revision)
);

-- number: the order in which they were booked; positions are rebuilt in it. destination: who reported it. fee:
-- nanos, below 0 for a rebate. A row is as it was first reported.
CREATE TABLE executions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    venue TEXT NOT NULL,
    destination TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    price INTEGER NOT NULL CHECK (price > 0),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    ts INTEGER NOT NULL,
    ts_recv INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    liquidity TEXT NOT NULL,
    UNIQUE (destination, execution_id)
);
CREATE INDEX executions_of_order ON executions (order_id);

-- Busts and corrections. The last of an execution says what it is now; quantity 0: it was taken back.
CREATE TABLE execution_changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    ts INTEGER NOT NULL,
    destination TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('bust', 'correction')),
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    price INTEGER NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX execution_changes_of ON execution_changes (destination, execution_id);

-- Where each partition of the signals topic goes on: the journal, not Kafka, is what the agent believes.
CREATE TABLE offsets (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;

-- The venue's record (session) that a gateway talks to, and its last report that took effect here.
CREATE TABLE venue_sessions (
    gateway TEXT PRIMARY KEY,
    session TEXT NOT NULL,
    last_report_seq INTEGER NOT NULL
) WITHOUT ROWID;

-- The last mid each position was marked at, and P&L (1e-18, text) when a UTC day began.
CREATE TABLE marks (
    venue TEXT NOT NULL, symbol TEXT NOT NULL, mid INTEGER NOT NULL, ts INTEGER NOT NULL,
    PRIMARY KEY (venue, symbol)
) WITHOUT ROWID;
CREATE TABLE day_starts (
    day TEXT NOT NULL, scope TEXT NOT NULL, pnl TEXT NOT NULL,
    PRIMARY KEY (day, scope)
) WITHOUT ROWID;
-- What the loss and the drawdown of a day (since 1970) are measured from, and the value at risk as it was last
-- that day, by level (0 firm, 1 rule, 2 instrument) and name: nanos.
CREATE TABLE risk_marks (
    day INTEGER NOT NULL, level INTEGER NOT NULL, name TEXT NOT NULL, day_start INTEGER NOT NULL,
    best INTEGER NOT NULL, var INTEGER NOT NULL, PRIMARY KEY (day, level, name)
) WITHOUT ROWID;

-- Plans of breaches that are under way, or are done and were not released: all that a successor goes on with.
CREATE TABLE unwindings (
    kind TEXT NOT NULL, level INTEGER NOT NULL, name TEXT NOT NULL, ts INTEGER NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (kind, level, name)
) WITHOUT ROWID;

-- What somebody must look at, and what somebody did.
CREATE TABLE alerts (id INTEGER PRIMARY KEY AUTOINCREMENT, ts INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE risk_actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, ts INTEGER NOT NULL, action TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL
);

-- Facts on their way to QuestDB and Kafka; a row goes when every sink's cursor is past it.
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, payload TEXT NOT NULL);
CREATE TABLE outbox_cursors (sink TEXT PRIMARY KEY, last_id INTEGER NOT NULL) WITHOUT ROWID;
