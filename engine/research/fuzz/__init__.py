"""Attacks on a limits file: sequences of messages that try to make the gate break its word."""

from engine.research.fuzz.search import Case, Failure, FuzzResult, fuzz, read_case, replay

__all__ = ["Case", "Failure", "FuzzResult", "fuzz", "read_case", "replay"]
