"""What the edge counts and logs, and how workers report it."""
