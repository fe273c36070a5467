from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config import Config, all_keys, load_config, parse_settings, profile_base
from engine.domain.orders import TimeInForce
from engine.domain.risk import bounds
from engine.errors import ConfigError
from tests.limits import SHIPPED, limits


def load(*pairs: str, profile: str | Path = "backtest", **layers: Any) -> Config:
    return load_config(profile, settings=parse_settings(pairs), **layers)


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[risk]\nmax_order_size = 3\nmin_order_size = 1\nmax_position_size = 0.1\n")
    environment = {"TETRAD_RISK__MIN_ORDER_SIZE": "2", "TETRAD_RISK__MAX_POSITION_SIZE": "0.2"}
    config = load("risk.max_position_size=0.3", profile=file, environment=environment)
    risk = config.risk
    assert (risk.max_order_size, risk.min_order_size, risk.max_position_size) == (3, 2, 0.3)
    assert risk.max_total_exposure == 1_000_000


@pytest.mark.req("D11")
def test_the_shipped_profile_has_the_defaults_of_the_structs_and_the_shipped_limits() -> None:
    shipped = load()
    assert shipped == Config(profile="backtest", risk=limits())


def test_sections_merge_key_by_key_and_lists_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[strategy]\nfast = 5\n[data]\nsymbols = ["A", "B"]\n')
    config = load("strategy.slow=9", 'data.symbols=["C"]', profile=file)
    assert config.strategy == {"fast": 5, "slow": 9}
    assert config.data.symbols == ["C"]


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=10", 10),
        ("a=1.5", 1.5),
        ("a=true", True),
        ('a=["A", "B"]', ["A", "B"]),
        ("a=text", "text"),
        ("a='10'", "10"),
        ("a=", ""),
        ("a=b=c", "b=c"),
        (" a = 5 ", 5),
        ("a=2005-01-01", "2005-01-01"),
        ("a=2005-01-01T09:30:00", "2005-01-01T09:30:00"),
        ("a=2005-01-01T09:30:00Z", "2005-01-01T09:30:00+00:00"),
        ("a=09:30:00", "09:30:00"),
    ],
)
def test_a_set_value_is_toml_or_else_text(pair: str, value: Any) -> None:
    (key, read), *_ = parse_settings([pair]).items()
    assert (key, read) == ("a", value)
    assert type(read) is type(value)


def test_a_date_in_a_profile_is_text_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[data]\nstart = 2005-01-01\nend = 2006-01-01T00:00:00Z\n")
    assert load(profile=file).data.start == "2005-01-01"
    assert load(profile=file).data.end == "2006-01-01T00:00:00+00:00"
    assert load("data.start=2005-01-01").data.start == "2005-01-01"


@pytest.mark.parametrize("pair", ["cash", "=5", " =5", ""])
def test_a_set_without_key_or_value_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="write it as KEY=VALUE, such as"):
        parse_settings([pair])


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("run.chunk_row=5", "unknown setting 'run.chunk_row'; did you mean 'run.chunk_rows'?"),
        ("riks.max_order_size=3", "unknown setting 'riks'; did you mean 'risk'?"),
        ("max_order_size=3", "did you mean 'risk.max_order_size'?"),
        ("fill.xyzzy=3", "unknown setting 'fill.xyzzy' (known: fill.timing,"),
        ("data=5", "data is a section; set data.NAME"),
        ("risk=unlimited", "risk is a section; set risk.NAME"),
        ("strategy=5", "setting strategy = 5: a section, not a setting"),
        ("risk.max_order_size.x=3", "setting risk.max_order_size = {'x': 3}: write a number"),
        ("data.paths=5", "setting data.paths = 5: write a list, such as"),
        ("data.paths=[1]", "setting data.paths[0] = 1: write text"),
        ("account.cash=true", "setting account.cash = True: write a number from 0.01 to"),
        ("account.cash=0", "setting account.cash = 0: write a number from 0.01 to 10,000"),
        ("account.cash=-5", "setting account.cash = -5: write a number from 0.01 to"),
        ("account.cash=nan", "setting account.cash = nan: not a finite number; write a"),
        ("account.cash=lots", "setting account.cash = 'lots': write a number from 0.01 to"),
        ("account.currency=usd", "account.currency = 'usd': write text that matches ^[A-Z]{3,5}$"),
        ("run.seed=1.5", "setting run.seed = 1.5: write a whole number"),
        ("run.chunk_rows=0", "setting run.chunk_rows = 0: write a whole number from 1 to"),
        ("fill.timing=foo", "setting fill.timing = 'foo': one of next_open, next_tick,"),
        ("orders.time_in_force=gtc", "orders.time_in_force = 'gtc': one of DAY, GTC, GTD, IOC"),
        (
            "risk.max_order_size=lots",
            "risk.max_order_size = 'lots': write a number from 0 to 1,000",
        ),
        ("risk.symbols.A=5", "--set: risk.symbols.A is a section; set risk.symbols.A.NAME"),
        ("risk.symbols=5", "setting risk.symbols = 5: a section, not a setting; set"),
        ("risk.per_strategy=5", "risk.per_strategy is a section; set risk.per_strategy.NAME"),
        ("data.tick_size=0", "setting data.tick_size = 0: write a number above 0"),
        ("data.columns.close=1", "setting data.columns.close = 1: write text"),
        ("orders.keep_closed=-1", "orders.keep_closed = -1: write a whole number at least 0"),
        ("supervision.strategy=go", "supervision.strategy = 'go': one of stop, quarantine"),
        ("costs.commission_bps=inf", "setting costs.commission_bps = inf: not a finite number"),
        ("risk.max_order_size=inf", "setting risk.max_order_size = inf: not a finite number"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(pair: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(pair)
    assert words in str(caught.value)


BAD_LIMITS = [
    *((name, value) for name in ("max_order_size", "min_order_size", "max_total_exposure",
      "max_daily_loss_amount") for value in ("-1", "nan", "inf", "-inf", "none", "true", "[1]")),
    *((name, value) for name in ("max_position_size", "max_daily_loss")
      for value in ("-0.01", "1.01", "nan", "inf", "30%")),
    *((name, value) for name in ("position_warning", "daily_loss_warning")
      for value in ("0", "1.01", "nan", "unlimited")),
    *(("max_leverage", value) for value in ("0", "-1", "101", "nan", "inf")),
    *(("halt_reset", value) for value in ("never", "1")),
    *(("short_selling", value) for value in ("maybe", "2")),
    *((name, value) for name in ("max_open_orders", "per_strategy.max_orders_per_day",
      "max_losing_trades") for value in ("-1", "1.5", "nan", "many", "true")),
    *((name, value) for name in ("max_order_rate", "per_strategy.max_order_rate", "intent_ttl",
      "max_price_age") for value in ("0", "-1", "nan", "inf", "fast")),
    *((name, value) for name in ("order_burst", "max_repeated_orders") for value in ("0", "1.5")),
    *((name, value) for name in ("initial_margin", "maintenance_margin", "price_collar")
      for value in ("0", "1.01", "-0.1", "nan")),
    *(("on_halt", value) for value in ("sell", "1")),
    *(("trading_hours", value) for value in ("night", "1")),
    *(("locates", value) for value in ("all", "[1]", "{ A = -1 }", '{ A = "many" }')),
    *(("restricted_symbols", value) for value in ("1", "[1]")),
    *(("symbols.A.max_order_size", value) for value in ("-1", "nan", "big")),
    *(("symbols.A.price_collar", value) for value in ("0", "2")),
    *((name, value) for name in ("stop_loss_pct", "trailing_stop_pct", "stop_loss_buffer")
      for value in ("-0.1", "1.5", "nan")),
    ("max_sector_exposure", "1.2"), ("symbols.A.max_position_size", "1.2"),
]  # fmt: skip


@pytest.mark.req("P11")
@pytest.mark.parametrize(("name", "value"), BAD_LIMITS)
def test_a_bad_limit_is_refused_at_load_by_its_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"risk.{name}={value}")
    message = str(caught.value)
    assert message.startswith(f"setting risk.{name}"), message
    # What may be written instead, not only what may not.
    assert re.search(r": (not a finite number; )?(write|one of|a share of equity,) ", message)
    assert "\n" not in message


AMOUNT = 'write a number from 0 to 1,000,000,000,000, or "unlimited"'
SHARE = 'write a number from 0 to 1, or "unlimited"'
PART = "write a number above 0 and at most 1"
COUNT = 'write a whole number from 0 to 1,000,000,000, or "unlimited"'
RATE = 'write a number above 0 and at most 1,000,000, or "unlimited"'
LOCATES = "write a table of names, each with a number from 0 to 1,000,000,000,000"
# One of every kind of bad limit, in every section, and all of what is said of it.
SAID = [
    ("max_order_size=-1", f"setting risk.max_order_size = -1: {AMOUNT}"),
    ("max_order_size=2e12", f"setting risk.max_order_size = 2000000000000.0: {AMOUNT}"),
    ("max_order_size=nan", f"setting risk.max_order_size = nan: not a finite number; {AMOUNT}"),
    ("min_cash=-inf", f"setting risk.min_cash = -inf: not a finite number; {AMOUNT}"),
    ("max_order_size=lots", f"setting risk.max_order_size = 'lots': {AMOUNT}"),
    ("max_order_size=Unlimited", f"setting risk.max_order_size = 'Unlimited': {AMOUNT}"),
    ("max_order_size=", f"setting risk.max_order_size = '': {AMOUNT}"),
    ("max_order_size=true", f"setting risk.max_order_size = True: {AMOUNT}"),
    ("max_order_size=[1, 2]", f"setting risk.max_order_size = [1, 2]: {AMOUNT}"),
    ("max_daily_loss=5%", f"setting risk.max_daily_loss = '5%': {SHARE}"),
    ("max_daily_loss=1.01", f"setting risk.max_daily_loss = 1.01: {SHARE}"),
    ("position_warning=unlimited", f"setting risk.position_warning = 'unlimited': {PART}"),
    ("initial_margin=0", f'setting risk.initial_margin = 0: {PART}, or "unlimited"'),
    ("max_leverage=101", ("setting risk.max_leverage = 101: write a number above 0 and at most "
     '100, or "unlimited"')),
    ("max_order_rate=0", f"setting risk.max_order_rate = 0: {RATE}"),
    ("max_open_orders=1.5", f"setting risk.max_open_orders = 1.5: {COUNT}"),
    ("max_open_orders=true", f"setting risk.max_open_orders = True: {COUNT}"),
    ("order_burst=0", "setting risk.order_burst = 0: write a whole number from 1 to 1,000,000"),
    ("short_selling=maybe", "setting risk.short_selling = 'maybe': write true or false"),
    ("on_halt=sell", "setting risk.on_halt = 'sell': one of keep, flatten"),
    ("halt_reset=1", "setting risk.halt_reset = 1: one of next_day, manual"),
    ("restricted_symbols=A", ("setting risk.restricted_symbols = 'A': write a list, such as "
     '["AAPL", "MSFT"]')),
    ("locates=3", f'setting risk.locates = 3: {LOCATES}, or "unlimited"'),
    ("locates={ A = 1, B = -1 }", ("setting risk.locates.B = -1: write a number from 0 to "
     "1,000,000,000,000")),
    ("per_strategy.max_exposure=-1", f"setting risk.per_strategy.max_exposure = -1: {AMOUNT}"),
    ("per_strategy.max_exposure=inf", ("setting risk.per_strategy.max_exposure = inf: not a finite "
     f"number; {AMOUNT}")),
    ("per_strategy.max_open_orders=1.5", (f"setting risk.per_strategy.max_open_orders = 1.5: "
     f"{COUNT}")),
    ("per_strategy.max_order_rate=0", f"setting risk.per_strategy.max_order_rate = 0: {RATE}"),
    ("symbols.A.max_order_size=big", f"setting risk.symbols.A.max_order_size = 'big': {AMOUNT}"),
    ("symbols.A.max_order_size=nan", ("setting risk.symbols.A.max_order_size = nan: not a finite "
     f"number; {AMOUNT}")),
    ("symbols.A.price_collar=2", ("setting risk.symbols.A.price_collar = 2: "
     f'{PART}, or "unlimited"')),
    ("symbols.A.max_position_size=1.2", ("setting risk.symbols.A.max_position_size = 1.2: a share "
     "of equity, 0 to 1; above that it needs max_leverage of at least as much, which is 1")),
    ("min_order_size=200000", ("setting risk.min_order_size = 200000: must not be above "
     "max_order_size, which is 100000")),
    ("symbols.A.max_order_size=50", ("setting risk.min_order_size = 100: must not be above "
     "symbols.A.max_order_size, which is 50")),
    ("maintenance_margin=0.6", ("setting risk.maintenance_margin = 0.6: must not be above "
     "initial_margin, which is 0.5")),
    ("symbols.A=5", "--set: risk.symbols.A is a section; set risk.symbols.A.NAME"),
]  # fmt: skip


@pytest.mark.req("P11")
@pytest.mark.parametrize(("pair", "said"), SAID)
def test_a_bad_limit_is_told_with_its_range_and_a_fix(pair: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"risk.{pair}")
    assert str(caught.value) == said


@pytest.mark.req("P11")
@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("max_oder_size", "max_order_size"),
        ("max_exposure", "per_strategy.max_exposure"),
        ("per_strategy.max_expsure", "per_strategy.max_exposure"),
        ("per_strategy.max_leverage", "max_leverage"),
        ("symbols.A.max_ordr_size", "symbols.A.max_order_size"),
        ("symbols.A.price_colar", "symbols.A.price_collar"),
    ],
)
def test_an_unknown_limit_is_told_with_what_was_meant(wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"risk.{wrong}=1")
    message = str(caught.value)
    said = f"--set: unknown setting 'risk.{wrong}'; did you mean 'risk.{meant}'? (known: risk."
    assert message.startswith(said)
    assert "\n" not in message


NESTED = ["risk.symbols.A", "risk.symbols.A.price_collar", "risk.locates.A", "risk.per_strategy"]


@pytest.mark.parametrize(
    "value",
    [{"a": float("nan")}, [[1]], "a\nb", -(10**400)],
    ids=["table", "list", "text", "number"],
)
def test_whatever_is_written_every_setting_takes_it_or_tells_in_one_line(value: Any) -> None:
    for key in [*all_keys(), *NESTED]:
        try:
            load_config("backtest", settings={key: value})
        except ConfigError as error:
            message = str(error)
            assert key in message
            assert "\n" not in message
            assert re.search("; set |write |one of |did you mean|: must not be", message), message


def test_of_many_symbols_the_one_that_is_wrong_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    good, bad = "max_order_size = 5000\n", "max_order_size = 5000\nprice_collar = 0\n"
    file.write_text(f'[risk.symbols.A]\n{good}[risk.symbols."BRK.B"]\n{bad}')
    with pytest.raises(ConfigError, match=r"^setting risk\.symbols\.BRK\.B\.price_collar = 0: "):
        load(profile=file)


# Limits that contradict each other: what is set, and what the message must say.
CONTRADICTIONS = [
    (("min_order_size=200000",), "risk.min_order_size = 200000", "max_order_size, which is 100000"),
    (("maintenance_margin=0.6",), "risk.maintenance_margin = 0.6", "initial_margin, which is 0.5"),
    (("max_position_size=1.5",), "risk.max_position_size = 1.5", "max_leverage"),
    (("max_position_size=3", "max_leverage=2"), "risk.max_position_size = 3", "which is 2"),
]


@pytest.mark.req("P11")
@pytest.mark.parametrize(("pairs", "names", "says"), CONTRADICTIONS)
def test_limits_that_contradict_each_other_are_refused(
    pairs: tuple[str, ...], names: str, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*(f"risk.{pair}" for pair in pairs))
    assert names in str(caught.value)
    assert says in str(caught.value)


def test_a_share_above_one_goes_with_leverage() -> None:
    assert load("risk.max_position_size=1.5", "risk.max_leverage=2").risk.max_position_size == 1.5
    unlimited = load("risk.max_position_size=1.5", "risk.max_leverage=unlimited")
    assert unlimited.risk.max_position_size == 1.5


LIMIT_KEYS = [k for k in all_keys() if k.startswith("risk.") and k != "risk.symbols"]


def written(risk: dict[str, Any]) -> str:
    """Write a limits file as TOML."""
    each = risk.get("per_strategy", {})
    lines = [f"{k} = {as_toml(v)}" for k, v in risk.items() if k != "per_strategy"]
    lines += ["[risk.per_strategy]", *(f"{k} = {as_toml(v)}" for k, v in each.items())]
    return "\n".join(["[risk]", *lines])


def as_toml(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def test_a_whole_limits_file_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(written({**SHIPPED, "max_order_size": 7_000.0}))
    assert load(limits=file).risk == limits(max_order_size=7_000.0)
    assert load("risk.max_order_size=8000", limits=file).risk.max_order_size == 8_000


@pytest.mark.req("P11", "P16")
@pytest.mark.parametrize("key", LIMIT_KEYS)
def test_a_limits_file_that_leaves_one_out_is_refused(key: str, tmp_path: Path) -> None:
    path = key.split(".")[1:]
    risk = {**SHIPPED, "per_strategy": dict(SHIPPED["per_strategy"])}
    section = risk if len(path) == 1 else risk[path[0]]
    del section[path[-1]]
    file = tmp_path / "limits.toml"
    file.write_text(written(risk))
    with pytest.raises(ConfigError, match=rf"limits\.toml: {key} is missing; (write|one of) "):
        load(limits=file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[risk]\nmax_oder_size = 1", "did you mean 'risk.max_order_size'"),
        ("[risk.symbols.A]\nmax_positon = 1", "unknown setting 'risk.symbols.A.max_positon'"),
        ("[account]\ncash = 5", "holds [account]; only [risk] belongs there"),
        ("risk = 3", "risk is a section"),
        ("[risk", "limits.toml is not TOML"),
        ("", f"risk.min_order_size is missing; {AMOUNT}"),
        (None, "limits.toml does not exist"),
    ],
)
def test_a_file_that_is_no_limits_file_is_told(text: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(limits=file)
    message = str(caught.value)
    assert message.startswith(f"limits file {file}")
    assert says in message
    assert "\n" not in message


@pytest.mark.req("P11")
@pytest.mark.parametrize("key", LIMIT_KEYS)
def test_a_bad_limit_in_a_limits_file_is_named(key: str, tmp_path: Path) -> None:
    path = key.split(".")[1:]
    risk = {**SHIPPED, "per_strategy": dict(SHIPPED["per_strategy"])}
    section = risk if len(path) == 1 else risk[path[0]]
    section[path[-1]] = -1
    file = tmp_path / "limits.toml"
    file.write_text(written(risk))
    with pytest.raises(ConfigError, match=rf"^setting {re.escape(key)} = -1: \w+ \w+ "):
        load(limits=file)


def test_every_other_layer_wins_over_a_limits_file(tmp_path: Path) -> None:
    limits_file, profile = tmp_path / "limits.toml", tmp_path / "mine.toml"
    limits_file.write_text(written({**SHIPPED, "max_order_size": 7_000.0}))
    profile.write_text("[risk]\nmax_order_size = 8000\n")
    own = {"TETRAD_RISK__MAX_ORDER_SIZE": "9000"}
    assert load(limits=limits_file, profile=profile).risk.max_order_size == 8_000
    assert load(limits=limits_file, environment=own).risk.max_order_size == 9_000
    assert load("risk.max_order_size=6000", limits=limits_file, profile=profile,
                environment=own).risk.max_order_size == 6_000  # fmt: skip


def test_unlimited_is_a_limit_that_is_written_out() -> None:
    names = [n for n in all_keys() if n.startswith("risk.max_")] + ["risk.min_order_size"]
    risk = load(*(f"{name}=unlimited" for name in names)).risk
    assert risk.max_leverage == risk.max_position_size == "unlimited"
    assert bounds(risk).min_order == 0


def test_the_environment_counts_by_its_prefix_and_double_underscore() -> None:
    environment = {
        "TETRAD_ORDERS__TIME_IN_FORCE": "DAY",
        "TETRAD_STRATEGY__FAST": "7",
        "TETRAD_DATA__SYMBOLS": '["A"]',
        "TETRAD_HOME": "ignored",
        "RISK__MAX_ORDER_SIZE": "1",
    }
    config = load(environment=environment)
    assert config.orders.time_in_force is TimeInForce.DAY
    assert config.strategy == {"fast": 7}
    assert config.data.symbols == ["A"]
    assert config.risk == limits()


@pytest.mark.parametrize("name", ["TETRAD_RISK__MAX_ORDER", "TETRAD_RISKS__MAX_ORDER_SIZE"])
def test_an_unknown_variable_of_ours_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"the environment: unknown setting .* did you mean"):
        load(environment={name: "5"})


def test_a_setting_and_a_section_of_one_name_cannot_be() -> None:
    with pytest.raises(ConfigError, match="data is a setting, not a section"):
        load("data=1", "data.start=2005")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"[risk", "is not TOML"),
        (b"\xff\xfe", "cannot be read"),
        (b"[riks]\nx = 1", "mine.toml: unknown setting 'riks'"),
        (b"risk = 3", "mine.toml: risk is a section"),
    ],
)
def test_a_bad_profile_file_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(profile=file)
    assert "mine.toml" in str(caught.value)
    assert words in str(caught.value)


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no profile 'backtset'.*backtest"):
        load_config("backtset")


def test_the_base_of_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[risk]\n")
    assert profile_base("backtest") == profile_base(str(file)) == "backtest"


def test_every_setting_can_be_set_to_what_it_is() -> None:
    resolved = msgspec.to_builtins(load())
    for key in all_keys():
        node: Any = resolved
        for part in key.split("."):
            node = node[part]
        assert load_config("backtest", settings={key: node}) == load()
