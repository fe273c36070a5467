"""What is told of an exception that a user's code raised."""

from __future__ import annotations

import traceback

__all__ = ["error_line", "users_traceback"]


def error_line(error: BaseException) -> str:
    """Give an exception as one line, ``Type: message``, even if its own ``__str__`` raises."""
    message = str(traceback.TracebackException(type(error), error, None))
    said = " ".join(message.split("\n"))
    return _printable(f"{type(error).__name__}: {said}")


def users_traceback(error: BaseException) -> str:
    """Give the traceback from the user's first frame on: what called it differs by runtime."""
    start = error.__traceback__
    while start is not None and _is_ours(start.tb_frame.f_globals.get("__name__", "")):
        start = start.tb_next
    lines = traceback.format_exception(error.__class__, error, start or error.__traceback__)
    return _printable("".join(lines))


def _printable(text: str) -> str:
    """Escape what UTF-8 cannot carry: it is encoded for the journal."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in ("engine", "actors")
