"""What can have changed about somebody who was proven: revocation, keys, roles."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from gateway.core.gateway_key import GatewayKey
from gateway.core.identity import Peer
from gateway.core.refusal import Reason, Refused
from gateway.core.revocation import Revocation, Target
from gateway.stages.identify import (
    Domain,
    Identification,
    OpaqueIssuer,
    RoleMap,
    RoleRule,
    current,
    current_roles,
    identify,
    revoked,
    unkeyed,
)
from tests.unit.stages.identify.parts import NOW, HeldKeys, call, certificate, forge, idp, issuer, signer
from tests.unit.stages.identify.test_opaque import Told, active

PEER = Peer("192.0.2.1", 1234)
RESEARCHER = RoleRule("researcher", groups=frozenset({"ml"}))
NOTEBOOK = RoleRule("notebook", clients=frozenset({"curl"}))
ROOT = RoleRule("root", roles_from_token=frozenset({"root"}))
BATCH = RoleRule("batch", certificates=frozenset({"CN=batch,O=Example"}))
WORKLOAD = RoleRule("workload", spiffe=("spiffe://example.org/**",))


def test_a_revocation_is_told_to_the_record_alone() -> None:
    """Its id and reason; the client reads nothing of them."""
    refusal = revoked(Revocation("r-1", Target.SUBJECT, "a", NOW, reason="stolen"))
    unexplained = revoked(Revocation("r-2", Target.SUBJECT, "a", NOW))

    assert (Reason.REVOKED, "", "revocation r-1 of subject: stolen") == (
        refusal.reason,
        refusal.detail,
        refusal.note,
    )
    assert "revocation r-2 of subject" == unexplained.note


async def test_a_key_that_is_gone() -> None:
    """Found as long as the issuer has it under any of its algorithms; a certificate has none to lose."""
    keys = HeldKeys(signer("ES256"))
    methods = Identification([issuer("EdDSA", "ES256", keys=keys)])
    identity = await identify(call(idp().mint()), methods, NOW)
    by_certificate = await identify(call(peer=certificate()), methods, NOW)
    assert unkeyed(identity, PEER, methods, NOW) is None
    keys.replace(signer("ES256", "second"))
    gone = unkeyed(identity, PEER, methods, NOW)
    stranger = unkeyed(identity, PEER, Identification([issuer(name="https://other.example.org")]), NOW)

    assert gone is not None
    assert stranger is not None
    assert (Reason.TOKEN_KEY_UNKNOWN, Reason.TOKEN_ISSUER_UNKNOWN) == (gone.reason, stranger.reason)
    assert unkeyed(by_certificate, PEER, methods, NOW) is None


@pytest.mark.parametrize("roles", [(RESEARCHER,), (NOTEBOOK,), (ROOT,), (BATCH, WORKLOAD), ()])
@pytest.mark.parametrize("with_certificate", [False, True])
async def test_roles_are_what_identify_would_say(
    roles: tuple[RoleRule, ...], *, with_certificate: bool
) -> None:
    """Under any configuration, for tokens with and without a certificate, and for certificates alone."""
    peer = certificate(spiffe="spiffe://example.org/batch", dns=("batch",)) if with_certificate else None
    token = idp().mint(groups=["ml"], claims={"client_id": "curl", "held": ["root"]})
    before = Identification([issuer("ES256")])
    after = Identification([issuer("ES256", roles_claim="held")], roles=RoleMap(roles))
    requests = [call(token, peer), *([call(peer=peer)] if peer else [])]
    for request in requests:
        old = await identify(request, before, NOW)
        new = await identify(request, after, NOW)

        assert new.roles == current_roles(old, peer, after)


async def test_roles_of_an_opaque_token_are_what_identify_would_say() -> None:
    """What its issuer said once is mapped by the configuration of now, as the claims of a JWT are."""
    opaque = [OpaqueIssuer(issuer(), Told(active(groups=["ml"])))]
    before = Identification([issuer()], opaque=opaque)
    after = Identification([issuer()], opaque=opaque, roles=RoleMap([RESEARCHER]))
    old, new = await identify(call("opaque"), before, NOW), await identify(call("opaque"), after, NOW)

    assert frozenset() == old.roles
    assert frozenset({"researcher"}) == new.roles == current_roles(old, None, after)
    assert frozenset() == current_roles(new, None, before)


async def test_groups_of_another_type_void_the_roles() -> None:
    """Another claim counts now, and it is no list of names: that is refused, not guessed at."""
    token = idp().mint(claims={"teams": ["ml", 7]})
    identity = await identify(call(token), Identification([issuer()]), NOW)

    with pytest.raises(Refused) as refused:
        current_roles(identity, None, Identification([issuer("ES256", groups_claim="teams")]))
    assert (Reason.TOKEN_CLAIM_INVALID, "groups") == (
        refused.value.refusal.reason,
        refused.value.refusal.rule,
    )


async def test_roles_of_strangers_and_of_other_credentials() -> None:
    """Strangers have what is configured now; a credential that nobody takes any more gives none."""
    before = Identification([issuer()], anonymous_roles=frozenset({"guest"}))
    stranger = await identify(call(), before, NOW)
    opaque = replace(stranger, methods=("opaque",))

    assert frozenset() == current_roles(stranger, None, Identification())
    assert frozenset({"new"}) == current_roles(
        stranger, None, Identification(anonymous_roles=frozenset({"new"}))
    )
    assert frozenset() == current_roles(opaque, None, Identification())


class Own:
    """Gateway keys that a test can change."""

    generation = 1

    def __init__(self, key: GatewayKey | None) -> None:
        self.key = key

    def find(self, id: str, /) -> GatewayKey | None:
        return self.key

    def blind(self, token: bytes, /) -> bytes:
        raise AssertionError(token)


KEY = GatewayKey(
    "k-1", "batch", frozenset({"own"}), bytes(32), NOW - 100, NOW + 100, groups=("ml",),
    previous_issued=NOW - 500, previous_until=NOW + 50,
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "issued", "reason"),
    [
        (KEY, NOW - 100, None),
        (KEY, NOW - 500, None),
        (None, NOW - 100, Reason.KEY_UNKNOWN),
        (KEY, NOW - 1000, Reason.KEY_UNKNOWN),
        (replace(KEY, expires=NOW), NOW - 100, Reason.KEY_EXPIRED),
        (replace(KEY, certificates=frozenset({"other"})), NOW - 100, Reason.KEY_BINDING),
        (replace(KEY, networks=(ip_network("10.0.0.0/8"),)), NOW - 100, Reason.KEY_BINDING),
        (replace(KEY, previous_until=NOW), NOW - 500, Reason.KEY_EXPIRED),
    ],
)
async def test_a_gateway_key_that_is_over(
    key: GatewayKey | None, issued: float, reason: Reason | None
) -> None:
    """Removed, replaced twice, replaced and over, cut short, bound to another place: what runs by it is no longer proven."""
    identity = replace(
        await identify(call(), Identification(anonymous_roles=frozenset()), NOW),
        methods=("key",), key_id="k-1", issued=issued,
    )  # fmt: skip
    found = unkeyed(identity, PEER, Identification(keys=Own(key)), NOW)
    gone = unkeyed(identity, PEER, Identification(), NOW)

    assert reason is (None if found is None else found.reason)
    assert gone is not None


async def test_roles_of_a_gateway_key_are_those_of_its_file() -> None:
    """And those that the configuration gives to its groups; of a key that is gone, what is left."""
    stranger = await identify(call(), Identification(anonymous_roles=frozenset({"old"})), NOW)
    identity = replace(stranger, methods=("key",), key_id="k-1")
    roles = RoleMap([RESEARCHER])

    assert frozenset({"own", "researcher"}) == current_roles(
        identity, None, Identification(keys=Own(KEY), roles=roles)
    )
    assert frozenset() == current_roles(identity, None, Identification(keys=Own(None), roles=roles))


async def test_a_claim_of_another_type_is_refused() -> None:
    """A configuration that reads roles from what is no list gives none."""
    identity = await identify(
        call(idp().mint(claims={"held": "root"})), Identification([issuer("ES256")]), NOW
    )
    with pytest.raises(Refused) as refused:
        current_roles(identity, None, Identification([issuer("ES256", roles_claim="held")]))

    assert Reason.TOKEN_CLAIM_INVALID is refused.value.refusal.reason


async def test_a_client_is_optional() -> None:
    """No client, no role of one; no group, none of these."""
    methods = Identification([issuer("ES256")], roles=RoleMap([NOTEBOOK, RESEARCHER]))
    identity = replace(await identify(call(idp().mint()), methods, NOW), client_id=None, claims={})

    assert frozenset() == current_roles(identity, None, methods)


async def test_a_trust_domain_whose_key_is_gone() -> None:
    """A JWT-SVID rests on its domain's keys as a token does on its issuer's; its roles are those of its name."""
    keys = HeldKeys(signer())
    methods = Identification(
        [issuer()], domains=[Domain("example.org", keys, "gw")], roles=RoleMap([WORKLOAD])
    )
    text: dict[str, object] = {"alg": "ES256", "kid": signer().kid, "typ": "JWT"}
    svid: dict[str, object] = {"sub": "spiffe://example.org/batch", "aud": ["gw"], "exp": int(NOW) + 300}
    identity = await identify(call(forge(text, svid)), methods, NOW)
    assert unkeyed(identity, PEER, methods, NOW) is None
    assert frozenset({"workload"}) == identity.roles == current_roles(identity, None, methods)
    assert frozenset() == current_roles(identity, None, Identification(domains=methods.domains.values()))
    keys.replace(signer("ES256", "second"))
    gone = unkeyed(identity, PEER, methods, NOW)
    stranger = unkeyed(identity, PEER, Identification([issuer()]), NOW)

    assert gone is not None
    assert stranger is not None
    assert (Reason.TOKEN_KEY_UNKNOWN, Reason.TOKEN_ISSUER_UNKNOWN) == (gone.reason, stranger.reason)


async def test_rights_of_a_gateway_key_are_those_of_its_file() -> None:
    """Groups and scopes that were taken from it are gone; whoever shows something else keeps what it says."""
    stranger = await identify(call(), Identification(anonymous_roles=frozenset({"old"})), NOW)
    identity = replace(stranger, methods=("key",), key_id="k-1", scopes=frozenset({"chat"}), bound=True)
    methods = Identification(keys=Own(KEY), anonymous_roles=frozenset({"new"}))
    found = current(identity, None, methods)

    assert (("ml",), frozenset(), False, frozenset({"own"})) == (
        found.groups,
        found.scopes,
        found.bound,
        found.roles,
    )
    assert replace(stranger, roles=frozenset({"new"})) == current(stranger, None, methods)
    assert frozenset({"chat"}) == current(identity, None, Identification()).scopes
