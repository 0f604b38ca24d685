"""What the administrator of a source does."""
