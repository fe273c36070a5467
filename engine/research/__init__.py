"""Research: backtests (and later screens and alerts) as library calls."""

from engine.research.backtest import backtest
from engine.research.result import BacktestResult

__all__ = ["BacktestResult", "backtest"]
