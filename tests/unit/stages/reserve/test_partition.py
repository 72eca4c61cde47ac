"""Whose account a request draws on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.budgets import Budget, Dimension, Key, Measure
from gateway.core.permit import Permit, issue_entry, issue_permit
from gateway.stages.reserve.partition import account_of, account_with, word_of
from tests.doubles.line import Line
from tests.unit.stages.authorize.material import an_identity

ROUTE = Line().route
ADA = replace(
    an_identity("ops", "research"),
    key="issuer|ada",
    certificate="FINGERPRINT",
    claims={"tenant": "blue", "groups": ["b", "a"], "level": 3},
)


def permit(identity: object = ADA, model: str | None = "llama") -> Permit:
    """Permit a request."""
    return issue_permit(issue_entry(identity, ROUTE), model, "rule")  # type: ignore[arg-type]  # an identity


def budget(*keys: Key, roles: frozenset[str] | None = None) -> Budget:
    """A budget that is kept apart by keys."""
    return Budget("chat", "tokens", Measure.TOKENS, 100, keys, 60.0, roles=roles)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Key(Dimension.IDENTITY), "issuer|ada"),
        (Key(Dimension.ROUTE), "chat"),
        (Key(Dimension.MODEL), "llama"),
        (Key(Dimension.ROLE), "ops,research"),
        (Key(Dimension.CERTIFICATE), "FINGERPRINT"),
        (Key(Dimension.CLAIM, claim="tenant"), "blue"),
        (Key(Dimension.CLAIM, claim="groups"), '["b","a"]'),
        (Key(Dimension.CLAIM, claim="level"), "3"),
        (Key(Dimension.CLAIM, claim="absent"), ""),
        (Key(Dimension.NETWORK, prefix4=24), "10.1.2.0/24"),
    ],
)
def test_each_dimension_has_its_value(key: Key, expected: str) -> None:
    """The values of one request."""
    assert expected == account_of(budget(key), permit(), "10.1.2.3")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("unix", "unix"),
    ],
)
def test_a_network_is_the_prefix_of_an_address(address: str, expected: str) -> None:
    """Both families have their own length; a socket without an address is one network."""
    assert expected == account_of(budget(Key(Dimension.NETWORK)), permit(), address)


def test_only_the_roles_that_a_budget_is_for_tell_callers_apart() -> None:
    """A further role does not give a caller a second account."""
    assert "ops" == account_of(
        budget(Key(Dimension.ROLE), roles=frozenset({"ops", "other"})), permit(), "10.1.2.3"
    )


def test_who_lacks_a_value_shares_an_account() -> None:
    """Leaving something out is no way around a budget."""
    plain = replace(ADA, certificate=None)
    keys = budget(Key(Dimension.CERTIFICATE), Key(Dimension.MODEL))

    assert "0:0:" == account_of(keys, permit(plain, None), "10.1.2.3")


def test_values_do_not_run_into_each_other() -> None:
    """Two values that join to the same text are still two accounts."""
    keys = budget(Key(Dimension.IDENTITY), Key(Dimension.MODEL))
    one = account_of(keys, permit(replace(ADA, key="ab"), "c"), "10.1.2.3")
    other = account_of(keys, permit(replace(ADA, key="a"), "bc"), "10.1.2.3")

    assert ("2:ab1:c", "1:a2:bc") == (one, other)


EVERY = (
    Key(Dimension.IDENTITY),
    Key(Dimension.ROUTE),
    Key(Dimension.MODEL),
    Key(Dimension.ROLE),
    Key(Dimension.CERTIFICATE),
    Key(Dimension.CLAIM, claim="tenant"),
    Key(Dimension.NETWORK, prefix4=24),
)
SAID = {
    "identity": "issuer|ada", "route": "chat", "model": "llama", "role": "research,ops,",
    "certificate": "FINGERPRINT", "claim:tenant": "blue", "network": "10.1.2.3",
}  # fmt: skip


@pytest.mark.parametrize("keys", [EVERY, *((key,) for key in EVERY)])
@pytest.mark.parametrize("roles", [None, frozenset({"ops", "other"})])
def test_who_says_the_values_names_the_same_account(
    keys: tuple[Key, ...], roles: frozenset[str] | None
) -> None:
    """What an operator says of a caller leads to the account that the caller's requests draw on."""
    one = budget(*keys, roles=roles)

    assert account_of(one, permit(), "10.1.2.3") == account_with(one, SAID)
    assert set(SAID) == {word_of(key) for key in EVERY}


def test_who_lacks_a_value_is_said_to() -> None:
    """Nothing stands for nothing."""
    one = budget(Key(Dimension.ROLE), Key(Dimension.MODEL))

    assert "0:0:" == account_with(one, {"role": "", "model": ""})
