"""Numbers without side effects: indicators, equity, round trips, statistics."""
