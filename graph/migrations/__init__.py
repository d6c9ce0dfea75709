"""Schema changes, each with its wall."""
