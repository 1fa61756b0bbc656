"""What a user edits: rules (``rules/*.sql``), instruments, limits, research."""
