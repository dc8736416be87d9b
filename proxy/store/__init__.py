"""Where answers and exchange records live. SQLite by default."""
