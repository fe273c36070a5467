"""What entered the reference Order Management System, and what it said, in a file of its own.

The system is a sequential machine: what is written here, handled again, brings a new one to the
state it was in. A line is written before what it tells of is done, so a killed system has said
nothing that its file does not know of. The file survives the process, not a power cut: it is not
synced to the disk.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.domain.clients import ClientGone, FromClient, ListOrders, QueryOrder
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.market import MarketEvent
from engine.domain.orders import Order
from engine.errors import ConfigError
from engine.runtime.inputs import Finished, Input, Started, Ticked, Told

__all__ = ["OmsStateFile"]

_REQUESTS: Mapping[str, type] = {
    "order": Order,
    "cancel": CancelOrder,
    "replace": ReplaceOrder,
    "query": QueryOrder,
    "list": ListOrders,
}
_NAMES = {kind: name for name, kind in _REQUESTS.items()}
_MOMENTS: Mapping[str, type[Started | Ticked | Finished]] = {
    "started": Started,
    "ticked": Ticked,
    "finished": Finished,
}
_ENTRIES = frozenset({*_REQUESTS, *_MOMENTS, "market", "gone"})


class _Line(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line of the file.

    ``kind`` is a request, a moment, ``market`` (the next event of the data), ``gone`` (a client
    has left), ``report`` (what the line before brought about) or ``header``.
    """

    kind: str
    at: float = 0.0
    ts: int = 0
    session: int = 0
    what: msgspec.Raw = msgspec.Raw()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


class OmsStateFile:
    """Keeps one system's inputs and reports, one JSON object a line.

    Args:
        path: the file; made when it is not there.
        actor: who is told what clients ask.
    """

    def __init__(self, path: Path, actor: str) -> None:
        self._path = path
        self._actor = actor
        self._fd = -1
        self._number = 0
        self._produced: list[bytes] | None = None
        self._sessions: set[int] = set()
        self.events = 0
        self.requests = 0
        self.ts = 0

    def open(self, header: Mapping[str, Any]) -> None:
        """Take the file for this process, beginning it if it is not there yet.

        Raises:
            ConfigError: it cannot be used, another process has it, or it was begun with another
                header.
        """
        given = _encode(_Line(kind="header", what=msgspec.Raw(_encode(header))))
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._drop_torn_line()
            with self._path.open("rb") as file:
                kept = file.readline().rstrip(b"\n")
        except BlockingIOError:
            self.close()
            raise ConfigError(
                f"--state {self._path}: another system has it; stop that one, or give another file"
            ) from None
        except OSError as error:
            self.close()
            raise ConfigError(
                f"--state {self._path} cannot be used: {error.strerror or error}; give another file"
            ) from error
        if not kept:
            os.write(self._fd, given + b"\n")
        elif kept != given:
            self.close()
            raise ConfigError(
                f"--state {self._path}: it was begun with other data or other settings of fills, "
                "costs or orders; give it those, or another file"
            )

    def _drop_torn_line(self) -> None:
        """Cut off what a kill left half-written; nothing had come of it."""
        size = os.fstat(self._fd).st_size
        with self._path.open("rb") as file:
            start = max(0, size - 1)
            file.seek(start)
            while start > 0 and file.read(1) != b"\n":
                start -= 1
                file.seek(start)
            end = start + 1 if start or (size and file.read(1) == b"\n") else 0
        if end < size:
            os.ftruncate(self._fd, end)

    def history(self, events: Iterator[MarketEvent]) -> Iterator[Input]:
        """Give what entered the system, in order; at the end every client has gone.

        What comes of each input is held against what was told then, and told if it was not.

        Args:
            events: the market data, from its start.

        Raises:
            ConfigError: a line is not what was written, or other reports come of it.
        """
        self._produced = []
        with self._path.open("rb") as file:
            for self._number, raw in enumerate(file, 1):
                if self._number == 1:
                    continue
                line = self._read(raw)
                if line.kind == "report":
                    self._require_said(bytes(line.what))
                    continue
                if self._produced:
                    raise self._disagreeing()
                yield self._entered(line, events)
        unsaid, self._produced = self._produced, None
        for event in unsaid:  # the kill came before they were written
            self._write(_Line(kind="report", at=time.time(), what=msgspec.Raw(event)))
        for session in sorted(self._sessions):
            yield Told(self._actor, ClientGone(session), self.ts)

    def _read(self, raw: bytes) -> _Line:
        try:
            line = _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._damaged() from error
        if line.kind not in _ENTRIES and line.kind != "report":
            raise self._damaged()
        return line

    def _entered(self, line: _Line, events: Iterator[MarketEvent]) -> Input:
        kind = line.kind
        if kind == "market":
            event = next(events, None)
            if event is None:
                raise self._damaged()
            self.events += 1
            self.ts = max(self.ts, event.ts_event)
            return event
        self.ts = max(self.ts, line.ts)
        moment = _MOMENTS.get(kind)
        if moment is not None:
            return moment(line.ts)
        if kind == "gone":
            self._sessions.discard(line.session)
            return Told(self._actor, ClientGone(line.session), line.ts)
        try:
            request: Any = msgspec.json.decode(line.what, type=_REQUESTS[kind])
        except msgspec.MsgspecError as error:
            raise self._damaged() from error
        self._sessions.add(line.session)
        self.requests += 1
        return Told(self._actor, FromClient(line.session, request), line.ts)

    def _require_said(self, said: bytes) -> None:
        if not self._produced or self._produced.pop(0) != said:
            raise self._disagreeing()

    def keep(self, entered: Input) -> None:
        """Write down what is about to be handled."""
        kind = type(entered)
        if isinstance(entered, Told):
            self._write(_asked(entered))
        elif isinstance(entered, Started | Ticked | Finished):
            name = next(name for name, each in _MOMENTS.items() if each is kind)
            self._write(_Line(kind=name, ts=entered.ts))
        else:
            self._write(_Line(kind="market"))

    def report(self, event: Any) -> None:
        """Write down what came of it, before anybody is told."""
        said = _encode(event)
        if self._produced is not None:
            self._produced.append(said)
        else:
            self._write(_Line(kind="report", at=time.time(), what=msgspec.Raw(said)))

    def _write(self, line: _Line) -> None:
        os.write(self._fd, _encode(line) + b"\n")

    def close(self) -> None:
        """Let the file go. May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _damaged(self) -> ConfigError:
        return ConfigError(
            f"--state {self._path}, line {self._number}: it is not what was written; the file is "
            "damaged: restore it, or give another"
        )

    def _disagreeing(self) -> ConfigError:
        return ConfigError(
            f"--state {self._path}, line {self._number}: other reports come of the same requests; "
            "the file is damaged or the engine has changed since: give another file"
        )


def _asked(told: Told) -> _Line:
    message = told.message
    if isinstance(message, ClientGone):
        return _Line(kind="gone", ts=told.ts, session=message.session)
    request = message.request
    return _Line(
        kind=_NAMES[type(request)],
        at=time.time(),
        ts=told.ts,
        session=message.session,
        what=msgspec.Raw(_encode(request)),
    )
