"""What can have changed about somebody who was proven: revocation, keys, roles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.refusal import Reason, Refused
from gateway.core.revocation import Revocation, Target
from gateway.stages.identify import (
    Identification,
    RoleMap,
    RoleRule,
    current_roles,
    identify,
    revoked,
    unkeyed,
)
from tests.unit.stages.identify.parts import NOW, HeldKeys, call, certificate, idp, issuer, signer

RESEARCHER = RoleRule("researcher", groups=frozenset({"ml"}))
NOTEBOOK = RoleRule("notebook", clients=frozenset({"curl"}))
ROOT = RoleRule("root", roles_from_token=frozenset({"root"}))
BATCH = RoleRule("batch", certificates=frozenset({"CN=batch,O=Example"}))
WORKLOAD = RoleRule("workload", spiffe=("spiffe://example.org/**",))


def test_a_revocation_is_told_to_the_record_alone() -> None:
    """Its id and reason; the client reads nothing of them."""
    refusal = revoked(Revocation("r-1", Target.SUBJECT, "a", NOW, reason="stolen"))

    assert (Reason.REVOKED, "", "revocation r-1 of subject: stolen") == (
        refusal.reason,
        refusal.detail,
        refusal.note,
    )


async def test_a_key_that_is_gone() -> None:
    """Found as long as the issuer has it under any of its algorithms; a certificate has none to lose."""
    keys = HeldKeys(signer("ES256"))
    methods = Identification([issuer("EdDSA", "ES256", keys=keys)])
    identity = await identify(call(idp().mint()), methods, NOW)
    by_certificate = await identify(call(peer=certificate()), methods, NOW)
    assert unkeyed(identity, methods) is None
    keys.replace(signer("ES256", "second"))
    gone = unkeyed(identity, methods)
    stranger = unkeyed(identity, Identification([issuer(name="https://other.example.org")]))

    assert gone is not None
    assert stranger is not None
    assert (Reason.TOKEN_KEY_UNKNOWN, Reason.TOKEN_ISSUER_UNKNOWN) == (gone.reason, stranger.reason)
    assert unkeyed(by_certificate, methods) is None


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


async def test_roles_of_strangers_and_of_other_credentials() -> None:
    """Strangers have what is configured now; credentials that carry their roles keep them."""
    before = Identification([issuer()], anonymous_roles=frozenset({"guest"}))
    stranger = await identify(call(), before, NOW)
    key = replace(stranger, methods=("key",), key_id="k-1")

    assert frozenset() == current_roles(stranger, None, Identification())
    assert frozenset({"new"}) == current_roles(
        stranger, None, Identification(anonymous_roles=frozenset({"new"}))
    )
    assert frozenset({"guest"}) == current_roles(key, None, Identification())


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
