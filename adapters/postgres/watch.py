"""A deadline of our own over what is asked of a server.

The server's deadlines bind only a server that hears us, and those of TCP only a peer whose machine
is gone. Between the two lies a peer that takes every byte and answers nothing: libpq would wait
for it for ever.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from engine.errors import StoreError

__all__ = ["Watch"]


class Watch:
    """Breaks a connection whose server has not answered in time; for one thread at a time.

    Args:
        connection: what is watched.
        timeout_s: how long an answer may take, seconds.
    """

    def __init__(self, connection: psycopg.Connection, *, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._until: float | None = None
        self._has_broken = False
        self._is_over = False
        threading.Thread(target=self._look, name="database-watch", daemon=True).start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Ask something of the server in this block.

        Raises:
            StoreError: it has not answered in time; the connection is broken.
        """
        self._set(time.monotonic() + self._timeout_s)
        try:
            yield
        except psycopg.Error as error:
            if not self._has_broken:
                raise
            raise StoreError(
                f"the database has not answered within {self._timeout_s:g} s"
            ) from error
        finally:
            self._set(None)

    def close(self) -> None:
        """Watch no longer. May be called again."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def _set(self, until: float | None) -> None:
        with self._changed:
            was_idle, self._until = self._until is None, until
            if was_idle:
                self._changed.notify()

    def _look(self) -> None:
        with self._changed:
            while not self._is_over:
                until = self._until
                left_s = None if until is None else until - time.monotonic()
                if left_s is None or left_s > 0:
                    self._changed.wait(left_s)
                elif not self._has_broken:
                    self._has_broken = True
                    self._break()
                else:
                    return

    def _break(self) -> None:
        """End both ways of the connection: whoever waits for the server hears of it at once."""
        with suppress(OSError, psycopg.Error):
            copy = socket.socket(fileno=os.dup(self._connection.fileno()))
            with copy:
                copy.shutdown(socket.SHUT_RDWR)
