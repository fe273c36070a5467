"""The exception tree of the engine.

::

    TetradError
    ├── InputError            what the user gave is wrong; exit code 2
    │   ├── ConfigError       a profile, ``--set`` or environment value
    │   ├── DataError         a market data file: names file, row and rule
    │   ├── UnknownSymbolError
    │   └── StrategyLoadError the strategy file or class cannot be used
    ├── StrategyError         user code raised; exit code 1, keeps the traceback and the event
    ├── UnavailableError      something outside does not answer; exit code 75, run again
    │   ├── StoreError        the database
    │   ├── FeedError         the broker that market data comes from
    │   └── VenueError        the venue
    ├── EngineHaltedError     the runtime stopped itself, did not start or is over
    └── InvariantError        a bug of ours: an impossible transition, an unbalanced entry

Business outcomes (a denied or rejected order) are values, never exceptions.
"""

from __future__ import annotations


class TetradError(Exception):
    """Root of every error the engine raises on purpose."""


class InputError(TetradError):
    """The user's input is unusable; the message says what, where and what to do."""


class ConfigError(InputError):
    """A setting is unknown, of the wrong type or out of range."""


class UnknownSymbolError(InputError):
    """A symbol was asked for that the data does not hold."""


class StrategyLoadError(InputError):
    """A strategy cannot be imported, found or constructed."""


class DataError(InputError):
    """A market data file breaks a rule.

    Attributes:
        file: path of the file as the user gave it.
        row: 1-based data row (the header does not count), None when it concerns the whole file.
        rule: short name of the broken rule, such as ``sorted`` or ``high_not_below_low``.
    """

    def __init__(self, file: str, row: int | None, rule: str, message: str) -> None:
        where = file if row is None else f"{file}, row {row}"
        super().__init__(f"{where}: {message} [{rule}]")
        self.file = file
        self.row = row
        self.rule = rule


class StrategyError(TetradError):
    """A hook of the user's strategy raised.

    Attributes:
        strategy_id: which strategy.
        hook: name of the hook, such as ``on_bar``.
        event: the event it was handling, rendered for people.
        error: ``Type: message`` of the exception.
        traceback: its full traceback text.
    """

    def __init__(self, strategy_id: str, hook: str, event: str, error: str, traceback: str) -> None:
        super().__init__(f"strategy {strategy_id} failed in {hook} on {event}: {error}")
        self.strategy_id = strategy_id
        self.hook = hook
        self.event = event
        self.error = error
        self.traceback = traceback


class UnavailableError(TetradError):
    """Something outside the engine does not answer; the run can go on when it does."""


class StoreError(UnavailableError):
    """The store of a run does not answer or refuses; what it had confirmed is kept."""


class FeedError(UnavailableError):
    """The broker that market data comes from does not answer, or gives no more."""


class VenueError(UnavailableError):
    """The venue does not answer; what it was asked is not given up."""


class EngineHaltedError(TetradError):
    """The runtime stopped itself, did not start or is over; the message says what failed."""


class InvariantError(TetradError):
    """An internal rule was broken; the engine stops rather than continue wrong."""
