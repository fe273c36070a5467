from __future__ import annotations

import pytest

from engine.domain.ledger import Account, AccountKind, Books
from engine.errors import InvariantError

CASH, CAPITAL = AccountKind.CASH, AccountKind.CAPITAL


@pytest.mark.req("P17")
def test_an_entry_that_does_not_balance_changes_nothing() -> None:
    books = Books()
    cash, capital = books.account(CASH, "USD"), books.account(CAPITAL, "USD")
    books.post((cash, 100), (capital, -100))
    with pytest.raises(InvariantError, match="out of balance by 1 cash units"):
        books.post((cash, 51), (capital, -50))
    assert (cash.balance, capital.balance) == (100, -100)
    assert books.imbalance("USD") == 0


@pytest.mark.req("P17")
def test_an_entry_of_two_currencies_is_refused_though_it_sums_to_zero() -> None:
    books = Books()
    dollars, euros = books.account(CASH, "USD"), books.account(CASH, "EUR")
    with pytest.raises(InvariantError, match="mixes USD and EUR"):
        books.post((dollars, 100), (euros, -100))
    assert dollars.balance == euros.balance == 0


def test_currencies_are_counted_apart() -> None:
    books = Books()
    for currency, amount in (("USD", 5), ("EUR", 7)):
        account = books.account(CASH, currency)
        books.post((account, amount), (books.account(CAPITAL, currency), -amount))
    assert books.total(CASH, "USD") == 5
    assert books.total(CASH, "EUR") == 7
    assert books.imbalance("USD") == books.imbalance("EUR") == 0


def test_an_account_is_one_by_its_name() -> None:
    books = Books()
    position = books.account(AccountKind.POSITION, "USD", "S", "X")
    assert books.account(AccountKind.POSITION, "USD", "S", "X") is position
    others = [
        books.account(AccountKind.REALIZED, "USD", "S", "X"),
        books.account(AccountKind.POSITION, "EUR", "S", "X"),
        books.account(AccountKind.POSITION, "USD", "T", "X"),
        books.account(AccountKind.POSITION, "USD", "S", "Y"),
    ]
    assert position not in others
    assert books.accounts == [position, *others]


def test_a_total_is_over_strategies_and_symbols() -> None:
    books = Books()
    cash = books.account(CASH, "USD")
    for strategy, amount in (("S", 3), ("T", -10)):
        account = books.account(AccountKind.REALIZED, "USD", strategy, "X")
        books.post((cash, -amount), (account, amount))
    assert books.total(AccountKind.REALIZED, "USD") == -7
    assert cash.balance == 7


def test_accounts_are_named_by_what_they_hold() -> None:
    assert {kind.name: kind.value for kind in AccountKind} == {
        name: name
        for name in (
            "CASH", "CAPITAL", "POSITION", "REALIZED", "COMMISSION", "RESERVED", "RESERVATIONS",
        )
    }  # fmt: skip
    books = Books()
    cash = books.account(AccountKind.CASH, "USD")
    assert (cash.strategy_id, cash.symbol, repr(cash)) == ("", "", "<CASH  0 USD>")
    assert repr(Account(AccountKind.CASH, "USD")) == "<CASH  0 USD>"
    held = books.account(AccountKind.POSITION, "USD", "S", "A")
    held.balance = 5
    assert repr(held) == "<POSITION S/A 5 USD>"
    assert books.account(AccountKind.CASH, "USD", "", "") is cash


@pytest.mark.req("P17")
def test_a_fill_is_an_entry_of_four_accounts() -> None:
    """Seven off the cost basis that bring twelve, less two of commission: cash gets 17."""
    books = Books()
    kinds = (CASH, AccountKind.POSITION, AccountKind.REALIZED, AccountKind.COMMISSION)
    accounts = [books.account(kind, "USD") for kind in kinds]
    books.post_fill(*accounts, cost_change=-7, gain=12, fee=2)
    assert [account.balance for account in accounts] == [17, -7, -12, 2]
    assert books.imbalance("USD") == 0
    euros = books.account(AccountKind.POSITION, "EUR")
    with pytest.raises(InvariantError, match="mixes USD and EUR"):
        books.post_fill(accounts[0], euros, *accounts[2:], cost_change=1, gain=0, fee=0)
    assert [account.balance for account in (*accounts, euros)] == [17, -7, -12, 2, 0]


def test_a_reservation_is_an_entry_of_two_accounts() -> None:
    books = Books()
    reserved = books.account(AccountKind.RESERVED, "USD", "S", "A")
    other = books.account(AccountKind.RESERVATIONS, "USD")
    books.reserve(reserved, other, 7)
    books.reserve(reserved, other, -3)
    assert (reserved.balance, other.balance, books.imbalance("USD")) == (4, -4, 0)
    euro = books.account(AccountKind.RESERVATIONS, "EUR")
    with pytest.raises(InvariantError, match="mixes USD and EUR"):
        books.reserve(reserved, euro, 1)
    assert (reserved.balance, euro.balance) == (4, 0)
    euro.balance = 9
    assert (books.imbalance("USD"), books.imbalance("EUR")) == (0, 9)
