"""The command of the reference Order Management System."""

from __future__ import annotations

import gc
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from engine.oms import ReferenceOms
    from engine.oms_ports import OmsState
    from engine.ports import MarketHistory

__all__ = [
    "Data",
    "Host",
    "Port",
    "Profile",
    "Settings",
    "Speed",
    "State",
    "oms",
    "serve_until_stopped",
]

oms = App(name="oms", help="Serve a reference Order Management System over gRPC.")

Data = Annotated[
    list[Path],
    Parameter(
        name="--data",
        consume_multiple=True,
        negative=(),
        help="Parquet, CSV or Arrow files, or folders of them, that fill the orders.",
    ),
]
Host = Annotated[str, Parameter(help="Address to listen on.")]
Port = Annotated[
    int, Parameter(help="TCP port; 0 takes a free one.", validator=Number(gte=0, lte=65_535))
]
Speed = Annotated[
    float | None,
    Parameter(
        help="Multiple of real time; by default the shortest bar takes a second.",
        validator=Number(gt=0, lte=1_000_000_000),
    ),
]
PlainOnly = Annotated[
    bool,
    Parameter(
        name="--plain",
        negative=(),
        help="Offer order.OrderService alone, as a foreign system does.",
    ),
]
State = Annotated[
    Path | None,
    Parameter(help="File that keeps what it was asked: it goes on from there after a kill."),
]
Profile = Annotated[
    str, Parameter(name="--profile", help="A shipped profile (backtest), or a TOML file over one.")
]
Settings = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="KEY=VALUE of data, fill or costs; may be repeated."),
]

_LOOK_EVERY_S = 60.0


@oms.default
def serve(
    *,
    data: Data,
    host: Host = "127.0.0.1",
    port: Port = 50_051,
    speed: Speed = None,
    plain: PlainOnly = False,
    state: State = None,
    profile: Profile = "backtest",
    settings: Settings = None,
) -> int:
    """Take orders over gRPC and fill them from market data files, until stopped.

    It offers order.OrderService and tetrad.oms.v1.OrderLink, without encryption. The data starts
    at its first bar; an order fills by what comes after it has arrived.
    """
    from engine.config import load_config, parse_settings
    from engine.oms import ReferenceOms, default_speed
    from engine.wiring import oms_state, open_history, open_oms_server

    changes = {**parse_settings(settings or []), "data.paths": [str(path) for path in data]}
    config = load_config(profile, environment=os.environ, settings=changes)
    history = open_history(config)
    pace = default_speed(history) if speed is None else speed
    kept = None if state is None else oms_state(state)
    edge = partial(open_oms_server, history.instruments, extended=not plain)
    system = ReferenceOms(config, history, edge, speed=pace, state=kept)
    serve_until_stopped(system, host, port, kept, history, pace)
    return 0


def serve_until_stopped(
    system: ReferenceOms,
    host: str,
    port: int,
    state: OmsState | None,
    history: MarketHistory,
    speed: float,
) -> None:
    """Start a system, serve, say where, and stop in order at SIGTERM or Ctrl-C."""
    gc.enable()  # a server lives long
    try:
        system.start()
        bound = system.serve(host, port)
        print(f"  serving           {host}:{bound}", flush=True)
        if state is not None:
            print(f"  state             {state.requests:,} requests known", flush=True)
        print(
            f"  data              {history.rows:,} {history.kind}s at {speed:,g} x",
            flush=True,
        )
        system.run()
        print("  data              at its end; orders are taken, nothing fills", flush=True)
        while True:
            system.wait(_LOOK_EVERY_S)
    except KeyboardInterrupt:  # SIGTERM too
        print("  stopped", flush=True)
    finally:
        system.stop()
