"""What runs inside the process: the journal of a backtest."""
