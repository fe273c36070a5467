"""Runs that outlive their process: paper and live."""

from engine.session.run import paper, run_session
from engine.session.telling import Going

__all__ = ["Going", "paper", "run_session"]
