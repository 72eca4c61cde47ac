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
    from gateway.core.budgets import Budget, Key
    from gateway.core.identity import Identity
    from gateway.core.permit import Entry, Permit
    from gateway.core.route import Route

_encode = msgspec.json.Encoder(order="deterministic").encode


def account_of(budget: Budget, permit: Permit, address: str) -> str:
    """Name the account.

    Args:
        budget: The budget.
        permit: Who may use which model of which route.
        address: The caller's address.
    """
    return _account(budget, permit.identity, permit.route, permit.model or "", address)


def account_by_head(budget: Budget, entry: Entry, address: str) -> str:
    """Name the account before the model is known.

    Args:
        budget: One that is not kept apart by the model.
        entry: Who may use which route.
        address: The caller's address.
    """
    return _account(budget, entry.identity, entry.route, "", address)


def _account(budget: Budget, identity: Identity, route: Route, model: str, address: str) -> str:
    per = budget.per
    if len(per) == 1:
        return _value(per[0], budget, identity, route, model, address)
    values = [_value(key, budget, identity, route, model, address) for key in per]
    return "".join([f"{len(value)}:{value}" for value in values])  # lengths: no value runs into the next


def _value(key: Key, budget: Budget, identity: Identity, route: Route, model: str, address: str) -> str:
    match key.dimension:
        case Dimension.IDENTITY:
            return identity.key
        case Dimension.ROUTE:
            return route.name
        case Dimension.MODEL:
            return model
        case Dimension.ROLE:
            roles = identity.roles if budget.roles is None else identity.roles & budget.roles
            return ",".join(sorted(roles))  # a role's name has no comma
        case Dimension.CERTIFICATE:
            return identity.certificate or ""
        case Dimension.NETWORK:
            return _network(address, key.prefix4, key.prefix6)
        case _:
            value = identity.claims.get(key.claim)
            if value is None:
                return ""
            return value if isinstance(value, str) else _encode(value).decode()


@lru_cache(maxsize=8192)
def _network(address: str, prefix4: int, prefix6: int) -> str:
    try:
        prefix = prefix6 if ":" in address else prefix4
        network = ip_network(f"{address.partition('%')[0]}/{prefix}", strict=False)
    except ValueError:  # a unix socket
        return address
    return str(network)
