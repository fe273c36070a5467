"""Orders to a broker over HTTP in Alpaca's REST shape."""
