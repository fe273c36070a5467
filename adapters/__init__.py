"""The edges to the world, one folder per technology."""
