"""The one import of TA-Lib, without what it would drag in.

TA-Lib's Python package imports pandas wherever it is installed, only to accept pandas.Series: a
quarter of a second and 60 MB for something the engine never passes. While the import runs,
pandas is made to look absent.
"""

from __future__ import annotations

import sys

__all__ = ["stream", "talib"]

_absent = "pandas" not in sys.modules
if _absent:
    sys.modules["pandas"] = None  # type: ignore[assignment]  # how Python marks an absent module
try:
    import talib
    from talib import stream
finally:
    if _absent:
        del sys.modules["pandas"]
