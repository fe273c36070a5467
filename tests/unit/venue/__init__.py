"""The simulated venue, alone in a cell."""
