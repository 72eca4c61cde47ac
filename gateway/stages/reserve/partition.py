"""Whose account of a budget a request draws on: the values of the budget's dimensions, as one text.

Two callers share an account only if all values are the same. Where a value is missing, its place stays
empty: those who lack it share an account, so that nobody escapes a budget by leaving something out.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING

import msgspec

from gateway.core.budgets import Dimension

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.budgets import Budget, Key
    from gateway.core.permit import Permit

_encode = msgspec.json.Encoder(order="deterministic").encode


def account_of(budget: Budget, permit: Permit, address: str) -> str:
    """Name the account.

    Args:
        budget: The budget.
        permit: Who may use which model of which route.
        address: The caller's address.
    """
    per = budget.per
    if len(per) == 1:
        return _value(per[0], budget, permit, address)
    return _joined([_value(key, budget, permit, address) for key in per])


def account_with(budget: Budget, values: Mapping[str, str]) -> str:
    """Name the account of somebody whose values an operator says, not a request.

    Args:
        budget: The budget.
        values: By `word_of` of each of its dimensions: several roles with commas, an address for a network,
            a claim that is no text as JSON; "" for who has none.
    """
    given = [_given(key, budget, values[word_of(key)]) for key in budget.per]
    return given[0] if len(given) == 1 else _joined(given)


def word_of(key: Key) -> str:
    """Return what an operator calls a dimension: `identity`, `model`, `claim:NAME`, ..."""
    return f"claim:{key.claim}" if key.dimension is Dimension.CLAIM else key.dimension.value


def _joined(values: list[str]) -> str:
    return "".join([f"{len(value)}:{value}" for value in values])  # lengths: no value runs into the next


def _value(key: Key, budget: Budget, permit: Permit, address: str) -> str:
    identity = permit.identity
    match key.dimension:
        case Dimension.IDENTITY:
            return identity.key
        case Dimension.ROUTE:
            return permit.route.name
        case Dimension.MODEL:
            return permit.model or ""
        case Dimension.ROLE:
            return _roles(budget, identity.roles)
        case Dimension.CERTIFICATE:
            return identity.certificate or ""
        case Dimension.NETWORK:
            return _network(address, key.prefix4, key.prefix6)
        case _:
            value = identity.claims.get(key.claim)
            if value is None:
                return ""
            return value if isinstance(value, str) else _encode(value).decode()


def _given(key: Key, budget: Budget, value: str) -> str:
    match key.dimension:
        case Dimension.ROLE:
            return _roles(budget, frozenset(value.split(",")) - {""})
        case Dimension.NETWORK:
            return _network(value, key.prefix4, key.prefix6)
        case _:
            return value


def _roles(budget: Budget, roles: frozenset[str]) -> str:
    mine = roles if budget.roles is None else roles & budget.roles
    return ",".join(sorted(mine))  # a role's name has no comma


@lru_cache(maxsize=8192)
def _network(address: str, prefix4: int, prefix6: int) -> str:
    try:
        prefix = prefix6 if ":" in address else prefix4
        network = ip_network(f"{address.partition('%')[0]}/{prefix}", strict=False)
    except ValueError:  # a unix socket
        return address
    return str(network)
