"""What differs between kinds of database server: nothing outside of this folder asks for a server's kind."""
