"""The roles of the engine, one actor per file."""
