-- A journal of version 2 gets what version 3 has more: parents and their routes, who reported an execution and
-- what it cost, busts and corrections. What is in it stays.
ALTER TABLE orders ADD COLUMN parent_id TEXT NOT NULL DEFAULT '';
ALTER TABLE orders ADD COLUMN destination TEXT NOT NULL DEFAULT '';
ALTER TABLE orders ADD COLUMN order_type TEXT NOT NULL DEFAULT 'limit';
ALTER TABLE orders ADD COLUMN min_quantity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN post_only INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN original_order_id TEXT NOT NULL DEFAULT '';
ALTER TABLE orders ADD COLUMN busted_quantity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN child_number INTEGER NOT NULL DEFAULT 0;
DROP INDEX orders_open;
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
) WITHOUT ROWID;
ALTER TABLE executions RENAME TO executions_2;
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
INSERT INTO executions SELECT number, venue, venue, execution_id, order_id, rule, symbol, side, price, quantity, ts,
    ts_recv, 0, '' FROM executions_2 ORDER BY number;
DROP TABLE executions_2;

CREATE TABLE unwindings (
    kind TEXT NOT NULL, level INTEGER NOT NULL, name TEXT NOT NULL, ts INTEGER NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (kind, level, name)
) WITHOUT ROWID;
