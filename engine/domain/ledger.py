"""Double-entry books: every entry sums to zero, so the books always do.

Amounts are signed cash units, a debit positive and a credit negative. Accounts are named by what
they hold; those of positions and results exist per strategy and symbol, so that a strategy's own
profit is a sum over its accounts and the account's profit the sum over strategies.
"""

from __future__ import annotations

from enum import StrEnum

from engine.errors import InvariantError


class AccountKind(StrEnum):
    """What an account holds."""

    CASH = "CASH"
    CAPITAL = "CAPITAL"
    POSITION = "POSITION"
    REALIZED = "REALIZED"
    COMMISSION = "COMMISSION"
    RESERVED = "RESERVED"
    """What working orders of a strategy in a symbol could still cost or bring."""
    RESERVATIONS = "RESERVATIONS"
    """The other side of every reservation."""


class Account:
    """One account of the books; change its balance through :meth:`Books.post` only.

    Attributes:
        kind: what it holds.
        currency: ISO code.
        strategy_id: whose; empty where that does not apply.
        symbol: of which instrument; empty where that does not apply.
        balance: signed cash units.
    """

    __slots__ = ("balance", "currency", "kind", "strategy_id", "symbol")

    def __init__(
        self, kind: AccountKind, currency: str, strategy_id: str = "", symbol: str = ""
    ) -> None:
        self.kind = kind
        self.currency = currency
        self.strategy_id = strategy_id
        self.symbol = symbol
        self.balance = 0

    def __repr__(self) -> str:
        where = "/".join(part for part in (self.strategy_id, self.symbol) if part)
        return f"<{self.kind} {where} {self.balance} {self.currency}>"


Posting = tuple[Account, int]


class Books:
    """All accounts, changed only by balanced entries.

    Attributes:
        accounts: every account ever opened, in order.
    """

    __slots__ = ("_by_name", "accounts")

    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self._by_name: dict[tuple[str, str, str, str], Account] = {}

    def account(
        self, kind: AccountKind, currency: str, strategy_id: str = "", symbol: str = ""
    ) -> Account:
        """Give an account, opening it on first use."""
        name = (kind, currency, strategy_id, symbol)
        account = self._by_name.get(name)
        if account is None:
            account = self._by_name[name] = Account(kind, currency, strategy_id, symbol)
            self.accounts.append(account)
        return account

    def post(self, *postings: Posting) -> None:
        """Apply one entry.

        Raises:
            InvariantError: the postings do not sum to zero, or mix currencies; nothing changes.
        """
        total = 0
        currency = postings[0][0].currency
        for account, amount in postings:
            total += amount
            if account.currency != currency:
                raise InvariantError(f"an entry mixes {currency} and {account.currency}")
        if total:
            raise InvariantError(f"an entry is out of balance by {total} cash units: {postings}")
        for account, amount in postings:
            account.balance += amount

    def post_fill(
        self,
        cash: Account,
        position: Account,
        realized: Account,
        commission: Account,
        cost_change: int,
        gain: int,
        fee: int,
    ) -> None:
        """Apply the entry of one fill: cash against position, result and commission.

        The same rule as :meth:`post`, written out because it runs once per fill: what leaves or
        enters cash is by construction what balances the other three.

        Args:
            cash: debited with the gain, credited with the change of cost and the fee.
            position: debited with the change of cost.
            realized: credited with the gain.
            commission: debited with the fee.
            cost_change: change of the position's cost basis, in cash units.
            gain: profit realised before commission, in cash units.
            fee: commission, in cash units.

        Raises:
            InvariantError: the accounts have different currencies.
        """
        currency = cash.currency
        if position.currency != currency:
            raise InvariantError(f"an entry mixes {currency} and {position.currency}")
        cash.balance += gain - cost_change - fee
        position.balance += cost_change
        realized.balance -= gain
        commission.balance += fee

    def reserve(self, reserved: Account, reservations: Account, change: int) -> None:
        """Apply the entry of a reservation that grew or shrank, in cash units.

        Written out like :meth:`post_fill`, for it runs several times an order.

        Raises:
            InvariantError: the accounts have different currencies.
        """
        if reserved.currency != reservations.currency:
            raise InvariantError(f"an entry mixes {reserved.currency} and {reservations.currency}")
        reserved.balance += change
        reservations.balance -= change

    def total(self, kind: AccountKind, currency: str) -> int:
        """Give the sum of all accounts of a kind in a currency."""
        return sum(a.balance for a in self.accounts if a.kind is kind and a.currency == currency)

    def imbalance(self, currency: str) -> int:
        """Give the sum of all balances of a currency; zero by construction."""
        return sum(a.balance for a in self.accounts if a.currency == currency)
