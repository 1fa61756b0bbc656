"""The daily reconciliation: ticks in three places, orders and positions in two."""
