"""What the agent's orders cost."""
