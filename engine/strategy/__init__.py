"""What a user writes: strategies, their parameters, orders and indicators."""
