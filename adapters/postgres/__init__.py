"""PostgreSQL: a server started for this process, its schema, and the store of a run."""
