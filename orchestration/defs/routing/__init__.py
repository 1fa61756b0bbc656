"""The router against the best that was there."""
