"""One event-driven trading engine: the same actors in live, paper, backtest and replay."""
