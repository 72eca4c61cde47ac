"""The three questions of one rule."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.stages.authorize import Effect, Rule, compile_condition

TEN = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("fe80::1%eth0", False),
        ("unix", False),
        ("10.0.0", None),
        ("", None),
    ],
)
def test_a_network_holds_addresses_of_its_family(address: str, expected: bool | None) -> None:
    """A mapped IPv4 address is judged as IPv4; what is no address is neither in nor out."""
    assert expected is Rule("r", Effect.ALLOW, networks=TEN).is_from(address)


def test_a_part_that_is_not_given_does_not_constrain() -> None:
    """No roles, no networks: everybody, from everywhere."""
    rule = Rule("r", Effect.ALLOW)

    assert rule.is_for(frozenset())
    assert rule.is_from("no address")
    assert rule.is_unconditional


def test_an_empty_list_matches_nothing() -> None:
    """`roles: []` is a rule for nobody, not for everybody."""
    rule = Rule("r", Effect.ALLOW, roles=[], networks=[])

    assert not rule.is_for(frozenset({"researcher"}))
    assert rule.is_from("10.0.0.1") is False


def test_any_of_the_roles_is_enough() -> None:
    """Roles of a rule are alternatives."""
    rule = Rule("r", Effect.ALLOW, roles=["a", "b"])

    assert rule.is_for(frozenset({"b", "c"}))
    assert not rule.is_for(frozenset({"c"}))


def test_any_constraint_makes_a_rule_conditional() -> None:
    """Only a rule without any part applies to every request."""
    assert not Rule("r", Effect.DENY, roles=["a"]).is_unconditional
    assert not Rule("r", Effect.DENY, models=["a"]).is_unconditional
    assert not Rule("r", Effect.DENY, networks=TEN).is_unconditional
    assert not Rule("r", Effect.DENY, when=compile_condition("request.stream")).is_unconditional
