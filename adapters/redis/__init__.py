"""Redis: market data by pub/sub, and the names of its channels."""
