-- Where an order went and which order it is a part of; who reported an execution, what it cost, and whether it
-- added liquidity or removed it. Execution ids are unique by who reported them.
ALTER TABLE orders ADD COLUMN IF NOT EXISTS parent_id VARCHAR;
ALTER TABLE orders ADD COLUMN IF NOT EXISTS destination SYMBOL CAPACITY 64;
ALTER TABLE executions ADD COLUMN IF NOT EXISTS destination SYMBOL CAPACITY 64;
ALTER TABLE executions ADD COLUMN IF NOT EXISTS fee DOUBLE;
ALTER TABLE executions ADD COLUMN IF NOT EXISTS liquidity SYMBOL CAPACITY 4;
ALTER TABLE executions DEDUP ENABLE UPSERT KEYS(ts, venue, destination, execution_id);
