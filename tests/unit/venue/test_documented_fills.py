"""The worked examples of docs/fills.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.domain.costs import CostsConfig
from engine.domain.events import OrderAccepted, OrderFilled
from engine.domain.instruments import Instrument
from engine.domain.matching import FillConfig, Reason
from engine.domain.money import CASH_DECIMALS, format_units
from tests.unit.venue.rig import DAY, MINUTE, Rig

PAGE = Path(__file__).parents[3].joinpath("docs", "fills.md").read_text("utf-8")
Table = list[dict[str, str]]


def tables(text: str) -> list[Table]:
    """Read the markdown tables of a text: one mapping of header to cell for each row."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()]
        found.append([dict(zip(rows[0], row, strict=True)) for row in rows[2:]])
    return found


EXAMPLES = dict(
    part.split("\n", 1) for part in PAGE.split("## Worked examples")[1].split("\n### ")[1:]
)


def settings(text: str) -> tuple[FillConfig, CostsConfig, int]:
    line = re.search(r"^`(.+)`$", text, re.MULTILINE)
    assert line is not None
    words = dict(word.split("=") for word in line[1].split())
    length = DAY if words.pop("bar", "1m") == "1d" else MINUTE
    fill = {name: words.pop(name) for name in FillConfig.__struct_fields__ if name in words}
    return (
        msgspec.convert(fill, FillConfig, strict=False),
        msgspec.convert(words, CostsConfig, strict=False),
        length,
    )


INSTRUCTION = re.compile(
    r"(?P<side>buy|sell) (?P<qty>\d+)(?P<market> market)?(?: stop (?P<stop>\d+))?"
    r"(?: limit (?P<limit>\d+))?(?: trail (?P<trail>\d+))?(?: (?P<tif>[A-Z_]+))?"
    r"(?:, child of (?P<parent>\w+))?(?:, group (?P<group>\w+))?$"
)


def send(rig: Rig, row: dict[str, str]) -> None:
    match = INSTRUCTION.match(row["instruction"])
    assert match is not None, row["instruction"]
    said = {name: value for name, value in match.groupdict().items() if value is not None}
    kind = "TRAILING_STOP" if "trail" in said else "MARKET"
    if "stop" in said:
        kind = "STOP_LIMIT" if "limit" in said else "STOP"
    elif "limit" in said:
        kind = "LIMIT"
    rig.order(
        said["side"].upper(),
        int(said["qty"]),
        kind,
        id=row["order"],
        tif=said.get("tif", "GTC"),
        limit=int(said["limit"]) if "limit" in said else None,
        stop=int(said["stop"]) if "stop" in said else None,
        trail_px=int(said["trail"]) if "trail" in said else None,
        parent_id=said.get("parent"),
        group_id=said.get("group"),
    )


def show(rig: Rig, row: dict[str, str], length: int) -> None:
    if "trade" in row:
        rig.trade(int(row["price"]), ts=int(row["trade"]))
        return
    open_px, high, low, close = (int(row[name]) for name in ("open", "high", "low", "close"))
    rig.bar((open_px, high, low, close), length=length, volume=int(row.get("volume", 1_000)))


def line(number: str, report: Any, columns: list[str]) -> dict[str, str]:
    cells = {columns[0]: number, "order": report.client_order_id}
    if type(report) is OrderFilled:
        verb = "bought" if report.signed_qty > 0 else "sold"
        cells["report"] = f"{verb} {abs(report.signed_qty)}"
        cells["price"], cells["by"] = str(report.last_px), report.priced_by.value
        cells["commission"] = format_units(report.commission, CASH_DECIMALS)
    else:
        verb = type(report).__name__.removeprefix("Order").lower()
        cells["report"] = f"{verb} {report.reason}"
    return {column: cells.get(column, "") for column in columns}


@pytest.mark.parametrize("title", EXAMPLES)
def test_example(title: str) -> None:
    fill, costs, length = settings(EXAMPLES[title])
    market, orders, expected = tables(EXAMPLES[title])
    rig = Rig(fill, costs, (Instrument(symbol="X", price_decimals=0),))
    columns, happened = list(expected[0]), []
    for number in range(len(market) + 1):
        if number:
            show(rig, market[number - 1], length)
            reports = [r for r in rig.take() if type(r) is not OrderAccepted]
            happened += [line(str(number), report, columns) for report in reports]
        for row in orders:
            if int(row["after"]) == number:
                send(rig, row)
    assert happened == expected


def test_every_reason_is_documented() -> None:
    section = PAGE.split("## Reasons")[1].split("\n## ")[0]
    listed = re.findall(r"`([A-Z_]+)`", "".join(row["code"] for row in tables(section)[0]))
    assert sorted(listed) == sorted(Reason)
