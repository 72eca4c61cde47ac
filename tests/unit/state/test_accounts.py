"""Where accounts lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.budgets import Budget, Dimension, Key, Measure
from gateway.state import accounts
from gateway.state.accounts import Accounts

if TYPE_CHECKING:
    import pytest

PER = (Key(Dimension.IDENTITY),)


def budget(scope: str, name: str, quota: int = 10) -> Budget:
    """A budget."""
    return Budget(scope, name, Measure.TOKENS, quota, PER, 60.0)


def test_accounts_of_a_key_share_a_hash_tag_and_no_name() -> None:
    """One script call may touch them all; nobody reads from a key whose it is."""
    names = Accounts("gateway:", b"secret")
    one, other = names.place(budget("chat", "a"), "ada"), names.place(budget("chat", "b"), "ada")
    elsewhere = names.place(budget("chat", "a"), "bob")

    assert one.startswith(names.tag("ada"))
    assert other.startswith(names.tag("ada"))
    assert len({one, other, elsewhere}) == 3
    assert not any(word in one + other for word in (b"ada", b"chat"))
    assert names.place(budget("chat", "a"), "ada") != Accounts("gateway:", b"").place(
        budget("chat", "a"), "ada"
    )


def test_names_cannot_be_spliced() -> None:
    """A scope and a name that join to the same text are still two accounts."""
    names = Accounts("gateway:", b"")

    assert names.place(budget("a", "bc"), "k") != names.place(budget("ab", "c"), "k")


def test_an_account_outlives_a_reload() -> None:
    """What is written of a limit follows the limit; where its account lies does not."""
    names = Accounts("gateway:", b"")
    before, terms = names.place(budget("a", "b"), "k"), names.terms(budget("a", "b"))
    changed = budget("a", "b", 20)

    assert names.place(changed, "k") == before
    assert names.terms(changed).text != terms.text
    assert names.terms(changed) is names.terms(changed)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many limits there are."""
    monkeypatch.setattr(accounts, "MAX_LIMITS", 2)
    names = Accounts("gateway:", b"")
    places = [names.place(budget("a", f"{number}"), "k") for number in range(5)]

    assert places == [names.place(budget("a", f"{number}"), "k") for number in range(5)]
    assert len(names._limits) <= 2
