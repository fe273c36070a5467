"""The peers: what to install, which script drives each, and where its rules differ from ours."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "tetrad"
OURS_RULE = "next_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer.

    Attributes:
        name: How ``--only`` and the table call it.
        script: Its script in this folder.
        requirements: Exact pins: the peer first, then what decides its results or its speed.
        rule: The oracle's name for its fill and rounding rules (``oracle.RULES``).
        note: What differs from the bench rule and what its figures include.
    """

    name: str
    script: str
    requirements: tuple[str, ...]
    rule: str
    note: str


PEERS = (
    Peer(
        name="vectorbt",
        script="vectorbt_.py",
        requirements=(
            "vectorbt==1.2.0",
            "numba==0.68.1",
            "numpy==2.4.6",
            "pandas==3.1.1",
            "pyarrow==26.0.1",
        ),
        rule="next_open",
        note=(
            "same fills and money; not event driven: signals are whole arrays, shifted one bar; "
            "its loop is the second call, the first compiles (in the whole process)"
        ),
    ),
    Peer(
        name="hftbacktest",
        script="hftbacktest_.py",
        requirements=(
            "hftbacktest==2.4.4",
            "numba==0.68.1",
            "numpy==2.2.6",
            "pandas==3.1.1",
            "pyarrow==26.0.1",
        ),
        rule="next_open_book_tick",
        note=(
            "an order book needs a spread: sells fill one book tick (2**-12) below the open; "
            "one run per symbol; compiling is in the whole process, not in the loop"
        ),
    ),
    Peer(
        name="backtesting.py",
        script="backtesting_py.py",
        requirements=(
            "backtesting==0.6.6",
            "bokeh==3.9.2",
            "numpy==2.4.6",
            "pandas==3.1.1",
            "pyarrow==26.0.1",
        ),
        rule="next_open",
        note=(
            "same fills and money; its loop includes its statistics; one instrument at a time: "
            "W2 is 100 runs, added up"
        ),
    ),
    Peer(
        name="zipline",
        script="zipline_.py",
        requirements=(
            "zipline-reloaded==3.2.1",
            "exchange_calendars==4.13.2",
            "numpy==2.4.6",
            "pandas==2.3.3",
            "pyarrow==26.0.1",
            "SQLAlchemy==2.1.9",
        ),
        rule="next_open",
        note=(
            "same fills and money; by default it fills at the next bar's close, a slippage model "
            "makes it the open; the clock also runs the empty minutes to the end of the last day"
        ),
    ),
    Peer(
        name="nautilus_trader",
        script="nautilus.py",
        requirements=(
            "nautilus_trader==1.221.0",
            "msgspec==0.22.0",
            "numpy==2.4.6",
            "pandas==2.3.3",
            "pyarrow==26.0.1",
        ),
        rule="signal_close_cents",
        note=(
            "no next-open mode on bars: fills at the signal bar's close, so also on the last bar; "
            "each commission is a binary float rounded to cents, half up"
        ),
    ),
    Peer(
        name="backtrader",
        script="backtrader_.py",
        requirements=(
            "backtrader==1.9.78.123",
            "numpy==2.4.6",
            "pandas==3.1.1",
            "pyarrow==26.0.1",
        ),
        rule="next_open",
        note="same fills and money; its loop excludes preloading, the whole process includes it",
    ),
)
