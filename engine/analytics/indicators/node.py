"""Where the parts of a plan lie: the layout that batch and stream share."""

from __future__ import annotations

from engine.analytics.indicators.spec import COLUMNS, IndicatorSpec, Output, own_lookback

__all__ = ["INDEX_FUNCTIONS", "TS_OPEN", "Node"]

TS_OPEN = len(COLUMNS)
"""Where a row of values keeps ``ts_open``: after the columns. Computed values follow."""

INDEX_FUNCTIONS = frozenset({"MAXINDEX", "MININDEX", "MINMAXINDEX"})
"""Functions whose values are numbers of rows, counted from the first row of the series."""


class Node:
    """One indicator of a plan, with where its inputs and outputs lie in a row of values.

    Attributes:
        spec: what it computes.
        inputs: places of its inputs.
        outputs: places of its outputs.
        derived: whether an input is itself computed, hence may have no value.
        lookback: rows with a value on every input that it needs before its first.
    """

    __slots__ = ("derived", "inputs", "lookback", "outputs", "spec")

    def __init__(self, spec: IndicatorSpec, inputs: tuple[int, ...], first_output: int) -> None:
        self.spec = spec
        self.inputs = inputs
        self.outputs = tuple(range(first_output, first_output + len(spec.outputs)))
        self.derived = any(isinstance(i, Output) for i in spec.inputs)
        self.lookback = own_lookback(spec)
