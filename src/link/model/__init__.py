"""Pure data: states, tables, what two of them have in common. No driver, no connection."""
