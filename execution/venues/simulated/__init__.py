"""The gateway to the simulated exchange, which stands for all venues of the feed."""
