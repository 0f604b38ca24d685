"""The holds at the source: the helper table, and every statement on it."""
