"""One rule: whom, which models, from where, and when. Data with three small questions.

Everything a rule names must hold (and); within one list any entry is enough (or). A part that is not
given does not constrain. An empty list matches nothing. What several rules decide together is
`policy`'s.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, TypeAlias, final

from gateway.stages.authorize.globs import ModelSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.stages.authorize.conditions import Condition

Network: TypeAlias = IPv4Network | IPv6Network
UNIX = "unix"  # what a peer's address is on a unix socket


@final
class Effect(Enum):
    """What a rule does where it applies."""

    ALLOW = "allow"
    DENY = "deny"


@final
class Rule:
    """One allow or deny rule, compiled.

    Args:
        name: Unique in its route; in every record of a decision that it made.
        effect: Allow or deny.
        roles: Any of these roles, or None for every identity.
        models: Any of these models, or None for every model. `*` stands for any text without `/`.
        networks: The peer's address is in any of these, or None for every address.
        when: The condition that holds, or None.
    """

    __slots__ = ("effect", "models", "name", "networks", "roles", "when")

    def __init__(
        self,
        name: str,
        effect: Effect,
        *,
        roles: Iterable[str] | None = None,
        models: Iterable[str] | None = None,
        networks: Iterable[Network] | None = None,
        when: Condition | None = None,
    ) -> None:
        self.name = name
        self.effect = effect
        self.roles = None if roles is None else frozenset(roles)
        self.models = None if models is None else ModelSet(models)
        self.networks = None if networks is None else tuple(networks)
        self.when = when

    @property
    def is_unconditional(self) -> bool:
        """True if it applies to every request."""
        return self.roles is None and self.models is None and self.networks is None and self.when is None

    def is_for(self, roles: frozenset[str]) -> bool:
        """Tell whether it applies to an identity with these roles."""
        return self.roles is None or not self.roles.isdisjoint(roles)

    def is_from(self, address: str) -> bool | None:
        """Tell whether it applies to a peer's address.

        Args:
            address: An IP address (an IPv4-mapped IPv6 address counts as IPv4) or `UNIX`, which is in
                no network.

        Returns:
            True or False; None if there are networks and the address is not understood.
        """
        if self.networks is None:
            return True
        if address == UNIX:
            return False
        try:
            peer = ip_address(address)
        except ValueError:
            return None
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
            return any(peer.ipv4_mapped in network for network in self.networks)
        return any(peer in network for network in self.networks)
