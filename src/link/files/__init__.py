"""The files of the rows that move: what they are named, and one object's way from store to store."""
