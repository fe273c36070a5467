"""Double-entry books: every entry sums to zero, so the books always do.

Amounts are signed cash units, a debit positive and a credit negative. Accounts are named by what
they hold; those of positions and results exist per strategy and symbol, so that a strategy's own
profit is a sum over its accounts and the account's profit the sum over strategies.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from engine.errors import InvariantError


class AccountKind(StrEnum):
    """What an account holds."""

    CASH = "CASH"
    CAPITAL = "CAPITAL"
    POSITION = "POSITION"
    REALIZED = "REALIZED"
    COMMISSION = "COMMISSION"


class Account(NamedTuple):
    """Name of one account; strategy and symbol are empty where they do not apply."""

    kind: AccountKind
    currency: str
    strategy_id: str = ""
    symbol: str = ""


Posting = tuple[Account, int]


class Books:
    """Balances of all accounts, changed only by balanced entries."""

    __slots__ = ("balances",)

    def __init__(self) -> None:
        self.balances: dict[Account, int] = {}

    def post(self, *postings: Posting) -> None:
        """Apply one entry.

        Raises:
            InvariantError: the postings do not sum to zero, or mix currencies.
        """
        total = 0
        currency = postings[0][0][1]
        for account, amount in postings:
            total += amount
            if account[1] != currency:
                raise InvariantError(f"an entry mixes {currency} and {account[1]}")
        if total:
            raise InvariantError(f"an entry is out of balance by {total} cash units: {postings}")
        balances = self.balances
        for account, amount in postings:
            balances[account] = balances.get(account, 0) + amount

    def balance(self, account: Account) -> int:
        """Give an account's balance in cash units; zero when it was never used."""
        return self.balances.get(account, 0)

    def total(self, kind: AccountKind, currency: str) -> int:
        """Give the sum of all accounts of a kind in a currency."""
        return sum(self._of(kind, currency))

    def _of(self, kind: AccountKind, currency: str) -> Iterable[int]:
        return (
            amount
            for account, amount in self.balances.items()
            if account.kind is kind and account.currency == currency
        )

    def imbalance(self, currency: str) -> int:
        """Give the sum of all balances of a currency; zero by construction."""
        return sum(amount for account, amount in self.balances.items() if account[1] == currency)
