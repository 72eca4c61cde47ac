"""`identify`: which credentials make which identity, and which make none."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refused
from gateway.core.revocation import Revocation, Target
from gateway.credentials.development import DevelopmentIssuer
from gateway.credentials.signing import Signer, generate_key
from gateway.stages.identify import Identification, RoleMap, RoleRule, identify

from .parts import (
    AUDIENCE,
    CLOCK,
    ISSUER,
    NOW,
    HeldKeys,
    call,
    certificate,
    claims,
    forge,
    header,
    idp,
    issuer,
    signer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.call import Call
    from gateway.core.identity import Identity


async def reason_of(request: Call, methods: Identification, now: float = NOW) -> Reason:
    """Return why a request is refused; fails if it is not."""
    with pytest.raises(Refused) as refused:
        await identify(request, methods, now)
    return refused.value.refusal.reason


async def test_a_token_names_its_subject() -> None:
    """Issuer and subject are the caller; everything verified about the token stands in the identity."""
    methods = Identification(
        [issuer(groups_claim="groups")], roles=RoleMap([RoleRule("researcher", groups=frozenset({"ml"}))])
    )
    token = idp().mint(
        "alice",
        groups=["ml"],
        scopes=["models:chat", "models:list"],
        claims={
            "acr": "gold",
            "amr": ["pwd", "otp"],
            "auth_time": 1_789_999_000,
            "jti": "j-1",
            "client_id": "app",
        },
    )

    identity = await identify(call(token), methods, NOW)

    assert f"{ISSUER}|alice" == identity.key
    assert (ISSUER, "alice", ("jwt",)) == (identity.issuer, identity.subject, identity.methods)
    assert frozenset({"researcher"}) == identity.roles
    assert ("ml",) == identity.groups
    assert frozenset({"models:chat", "models:list"}) == identity.scopes
    assert ("gold", ("pwd", "otp"), 1_789_999_000.0) == (identity.acr, identity.amr, identity.auth_time)
    assert ("j-1", "app", NOW) == (identity.token_id, identity.client_id, identity.issued)
    assert NOW + 300 + 30 == identity.expires
    assert "alice" == identity.claims["sub"]
    assert (None, None, False) == (identity.spiffe_id, identity.certificate, identity.bound)
    assert 16 == len(identity.token)
    assert not identity.is_anonymous


async def test_identity_never_holds_the_token() -> None:
    """Neither the record nor a debugger's view of an identity can leak the credential."""
    token = idp().mint()
    identity = await identify(call(token), Identification([issuer()]), NOW)

    assert token not in repr(identity)
    assert token.split(".")[2] not in str([getattr(identity, field.name) for field in fields(identity)])


async def test_a_certificate_alone_names_its_owner() -> None:
    """SPIFFE ID if there is one, else the distinguished name."""
    methods = Identification(roles=RoleMap([RoleRule("batch", spiffe=("spiffe://example.org/batch/*",))]))
    workload = await identify(call(peer=certificate(spiffe="spiffe://example.org/batch/a")), methods, NOW)
    named = await identify(call(peer=certificate("g" * 43)), methods, NOW)

    assert ("spiffe://example.org/batch/a", frozenset({"batch"})) == (workload.key, workload.roles)
    assert ("CN=batch,O=Example", frozenset()) == (named.key, named.roles)
    assert (("mtls",), "CN=clients CA", NOW + 3600) == (named.methods, named.issuer, named.expires)
    assert named is await identify(call(peer=certificate("g" * 43)), methods, NOW + 1)


async def test_a_certificate_is_evidence_beside_a_token() -> None:
    """The token's subject is the caller; the certificate adds its SPIFFE ID, roles and end."""
    methods = Identification(
        [issuer()],
        roles=RoleMap(
            [
                RoleRule("workload", spiffe=("spiffe://example.org/**",)),
                RoleRule("tls", certificates=frozenset({"a.example"})),
            ]
        ),
    )
    peer = certificate(spiffe="spiffe://example.org/a/b", dns=("a.example",), not_after=NOW + 60)
    identity = await identify(call(idp().mint(), peer), methods, NOW)

    assert f"{ISSUER}|alice" == identity.key
    assert ("jwt", "mtls") == identity.methods
    assert ("spiffe://example.org/a/b", "f" * 43) == (identity.spiffe_id, identity.certificate)
    assert frozenset({"workload", "tls"}) == identity.roles
    assert NOW + 60 == identity.expires
    assert not identity.bound


async def test_a_bound_token_needs_its_certificate() -> None:
    """RFC 8705: with its certificate it is bound; with another or none it is worth nothing."""
    methods = Identification([issuer()])
    token = idp().mint(bind="f" * 43)
    identity = await identify(call(token, certificate("f" * 43)), methods, NOW)

    assert identity.bound
    assert Reason.TOKEN_BINDING is await reason_of(call(token, certificate("g" * 43)), methods)
    assert Reason.TOKEN_BINDING is await reason_of(call(token), methods)


async def test_cached_bound_token_is_not_lent_to_another_connection() -> None:
    """What is remembered for one certificate says nothing about the same token with another."""
    methods = Identification([issuer()])
    token = idp().mint(bind="f" * 43)
    for _ in range(3):
        assert (await identify(call(token, certificate("f" * 43)), methods, NOW)).bound

        assert Reason.TOKEN_BINDING is await reason_of(call(token), methods)


async def test_nothing_proven_is_refused_or_anonymous() -> None:
    """Anonymous callers exist only where the configuration says so, one per address."""
    assert Reason.CREDENTIAL_MISSING is await reason_of(call(), Identification())

    methods = Identification(anonymous_roles=frozenset({"public"}))
    one = await identify(call(address="192.0.2.1"), methods, NOW)
    again = await identify(call(address="192.0.2.1"), methods, NOW)
    other = await identify(call(address="192.0.2.2"), methods, NOW)

    assert one is again
    assert ("anonymous|192.0.2.1", "anonymous|192.0.2.2") == (one.key, other.key)
    assert one.is_anonymous
    assert frozenset({"public"}) == one.roles


async def test_a_refused_credential_never_becomes_anonymous() -> None:
    """Anonymous access is for callers without credentials, not for those with bad ones."""
    methods = Identification([issuer()], anonymous_roles=frozenset({"public"}))

    assert Reason.TOKEN_EXPIRED is await reason_of(call(idp().mint(expires_in=10)), methods, NOW + 100)
    assert Reason.CREDENTIAL_SCHEME is await reason_of(call(b"Basic YTpi"), methods)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Basic YTpi", Reason.CREDENTIAL_SCHEME),
        (b"DPoP abc.def.ghi", Reason.CREDENTIAL_SCHEME),
        (b"Bearerabc", Reason.CREDENTIAL_SCHEME),
        (b"Bearer", Reason.TOKEN_MALFORMED),
        (b"Bearer ", Reason.TOKEN_MALFORMED),
        (b"Bearer  a.b.c", Reason.TOKEN_MALFORMED),
        (b"Bearer a.b.c ", Reason.TOKEN_MALFORMED),
        (b"Bearer\ta.b.c", Reason.TOKEN_MALFORMED),
        (b"Bearer a.b.c, Basic YTpi", Reason.TOKEN_MALFORMED),
        (b"Bearer a.b", Reason.TOKEN_MALFORMED),
        (b"", Reason.CREDENTIAL_SCHEME),
    ],
)
async def test_wrong_authorization_is_refused(value: bytes, expected: Reason) -> None:
    """One scheme, one space, one token."""
    assert expected is await reason_of(call(value), Identification([issuer()]))


async def test_scheme_is_case_insensitive() -> None:
    """RFC 9110, section 11.1; the same token is remembered once, however its scheme is written."""
    methods = Identification([issuer()])
    token = idp().mint()
    first = await identify(call(f"bEARER {token}".encode()), methods, NOW)
    second = await identify(call(f"bearer {token}".encode()), methods, NOW)
    third = await identify(call(token), methods, NOW)

    assert first is second is third
    assert 1 == len(methods.tokens)


@pytest.mark.parametrize("name", [b"dpop", b"x-api-key", b"api-key", b"proxy-authorization", b"txn-token"])
async def test_foreign_credentials_are_refused(name: bytes) -> None:
    """A second credential is ambiguous; one of an unknown kind alone is not accepted. Warm or cold."""
    methods = Identification([issuer()], anonymous_roles=frozenset({"public"}))
    token = idp().mint()
    await identify(call(token), methods, NOW)

    assert Reason.CREDENTIAL_AMBIGUOUS is await reason_of(call(token, headers={name: b"x"}), methods)
    assert Reason.CREDENTIAL_SCHEME is await reason_of(call(headers={name: b"x"}), methods)
    assert Reason.CREDENTIAL_SCHEME is await reason_of(
        call(peer=certificate(), headers={name: b"x"}), methods
    )


@pytest.mark.parametrize(
    "query", ["access_token=a.b.c", "x=1&access_token=", "access%5Ftoken=a", "access_token"]
)
async def test_token_in_the_query_is_refused(query: str) -> None:
    """Query strings end in logs (RFC 6750, section 5.3)."""
    methods = Identification(anonymous_roles=frozenset())

    assert Reason.CREDENTIAL_SCHEME is await reason_of(call(query=query), methods)


async def test_other_queries_pass() -> None:
    """Only a parameter of exactly that name is a credential."""
    methods = Identification(anonymous_roles=frozenset())

    assert (await identify(call(query="limit=3&note=access_token"), methods, NOW)).is_anonymous


async def test_certificate_dates_count_on_every_request() -> None:
    """A connection that outlives its certificate proves nothing any more, with or without a token."""
    methods = Identification([issuer()])
    peer = certificate(not_after=NOW + 10)
    token = idp().mint()
    await identify(call(peer=peer), methods, NOW)
    await identify(call(token, peer), methods, NOW)

    assert Reason.CERTIFICATE_EXPIRED is await reason_of(call(peer=peer), methods, NOW + 11)
    assert Reason.CERTIFICATE_EXPIRED is await reason_of(call(token, peer), methods, NOW + 11)


async def test_proof_ends_with_the_token() -> None:
    """A remembered token is verified again after `exp`, and refused after the skew."""
    methods = Identification([issuer()])
    token = idp().mint(expires_in=100)
    first = await identify(call(token), methods, NOW)

    assert first is await identify(call(token), methods, NOW + 99.9)
    assert first is not await identify(call(token), methods, NOW + 100)
    assert Reason.TOKEN_EXPIRED is await reason_of(call(token), methods, NOW + 130)


async def test_proof_ends_with_the_keys() -> None:
    """A key that the issuer removed is dead at once, also for tokens that were verified before."""
    keys = HeldKeys(signer())
    methods = Identification([issuer("ES256", keys=keys)])
    token = idp().mint()
    await identify(call(token), methods, NOW)
    keys.replace(signer("ES256", "second"))

    assert Reason.TOKEN_KEY_UNKNOWN is await reason_of(call(token), methods)


@pytest.mark.parametrize("scheme", ["Basic x", "DPoP xx", "Bearer\t", "bEarer."])
async def test_a_token_that_is_remembered_is_nothing_under_another_scheme(scheme: str) -> None:
    """Its digest is looked up under the one scheme that it was verified under."""
    methods = Identification([issuer()])
    token = idp().mint()
    await identify(call(token), methods, NOW)

    assert await reason_of(call(f"{scheme}{token}".encode()), methods) in {
        Reason.CREDENTIAL_SCHEME,
        Reason.TOKEN_MALFORMED,
    }


async def test_clock_set_back_voids_the_proof() -> None:
    """A proof from the future is none: the token is verified again."""
    methods = Identification([issuer()])
    token = idp().mint()
    await identify(call(token), methods, NOW)

    assert Reason.TOKEN_NOT_YET_VALID is await reason_of(call(token), methods, NOW - 100)


async def test_unknown_key_is_looked_for_once() -> None:
    """A rotated key is found by one refresh; a key that nobody has is refused after one."""
    keys = HeldKeys(signer(), then=(signer(), signer("ES256", "second")))
    methods = Identification([issuer("ES256", keys=keys)])
    identity = await identify(call(idp("ES256", "second").mint()), methods, NOW)

    assert "alice" == identity.subject
    assert 1 == keys.refreshes
    assert Reason.TOKEN_KEY_UNKNOWN is await reason_of(call(idp("ES256", "third").mint()), methods)
    assert 2 == keys.refreshes


async def test_keys_that_cannot_be_had_are_our_fault() -> None:
    """Without usable keys the answer is not that the credential is bad."""
    keys = HeldKeys()

    assert Reason.TOKEN_KEYS_UNAVAILABLE is await reason_of(
        call(idp().mint()), Identification([issuer("ES256", keys=keys)])
    )
    assert 1 == keys.refreshes


async def test_keys_that_are_too_old_are_not_used() -> None:
    """Whatever a look-up would still find, before the refresh and after it."""
    keys = HeldKeys(signer())
    keys.is_usable = False

    async def refresh() -> bool:
        keys.refreshes += 1
        return True

    keys.refresh = refresh  # type: ignore[method-assign]  # a change that brings nothing usable

    assert Reason.TOKEN_KEYS_UNAVAILABLE is await reason_of(
        call(idp().mint()), Identification([issuer("ES256", keys=keys)])
    )
    assert (1, []) == (keys.refreshes, keys.lookups)


async def test_keys_may_come_with_the_refresh() -> None:
    """The first token after a slow start is served once its issuer answers."""
    keys = HeldKeys(then=(signer(),))

    assert (
        "alice"
        == (await identify(call(idp().mint()), Identification([issuer("ES256", keys=keys)]), NOW)).subject
    )


async def test_refresh_without_change_does_not_help() -> None:
    """Keys that stay unusable after a fetch refuse; nothing is looked up in them."""
    keys = HeldKeys(signer())
    methods = Identification([issuer("ES256", keys=keys)])

    assert Reason.TOKEN_KEY_UNKNOWN is await reason_of(call(idp("ES256", "second").mint()), methods)
    assert 1 == keys.refreshes


async def test_key_of_another_issuer_proves_nothing() -> None:
    """Two issuers that share a key id never share the key (issuer, kid)."""
    theirs = Signer(generate_key("ES256"), "ES256", kid=signer().kid)
    methods = Identification([issuer(), issuer("ES256", keys=HeldKeys(theirs), name="https://other.example")])
    forged = DevelopmentIssuer(Path(), theirs, ISSUER, AUDIENCE, CLOCK).mint()
    honest = DevelopmentIssuer(Path(), theirs, "https://other.example", AUDIENCE, CLOCK).mint()

    assert Reason.TOKEN_BAD_SIGNATURE is await reason_of(call(forged), methods)
    assert "https://other.example|alice" == (await identify(call(honest), methods, NOW)).key


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"])
async def test_every_algorithm_verifies(algorithm: str) -> None:
    """Each supported algorithm is accepted where the issuer's entry lists it, and nowhere else."""
    token = idp(algorithm).mint()
    other = "ES384" if algorithm != "ES384" else "ES256"

    assert "alice" == (await identify(call(token), Identification([issuer(algorithm)]), NOW)).subject
    assert Reason.TOKEN_ALGORITHM is await reason_of(call(token), Identification([issuer(other)]))


async def test_one_token_has_one_spelling() -> None:
    """No altered spelling of a good token passes, cold or warm: padding, bits, case, separators."""
    methods = Identification([issuer()])
    token = idp().mint()
    head, body, signature = token.split(".")
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = signature[:-1] + alphabet[alphabet.index(last) ^ 1]
    await identify(call(token), methods, NOW)

    for altered in (
        f"{token}=",
        f"{token}==",
        f"{head}=.{body}.{signature}",
        f"{head}.{body}.{twin}",
        f"{token}.",
        f".{token}",
        f"{head}.{body}.",
        f"{head}.{body}",
    ):
        assert Reason.TOKEN_MALFORMED is await reason_of(call(altered), methods), altered


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
async def test_any_changed_octet_is_refused(place: int, octet: int) -> None:
    """No two different tokens share a proof: a token with one octet changed is never accepted."""
    methods = Identification([issuer()])
    token = idp().mint(claims={"jti": "fixed"}).encode()
    await identify(call(b"Bearer " + token), methods, NOW)
    place %= len(token)
    changed = token[:place] + bytes([octet]) + token[place + 1 :]
    if changed != token:
        await reason_of(call(b"Bearer " + changed), methods)

    assert 1 == len(methods.tokens)


async def test_subjects_of_two_issuers_are_two_callers() -> None:
    """The key joins issuer and subject, and an issuer cannot contain the joint."""
    with pytest.raises(ValueError, match="issuer"):
        issuer("ES256", name="https://idp|a")


def test_an_issuer_has_one_entry() -> None:
    """Two entries for one issuer would make trust depend on their order."""
    with pytest.raises(ValueError, match="two entries"):
        Identification([issuer(), issuer()])


async def test_memory_is_bounded() -> None:
    """However many tokens pass, at most twice the capacity is remembered."""
    methods = Identification([issuer()], anonymous_roles=frozenset(), capacity=2)
    for number in range(12):
        await identify(call(address=f"192.0.2.{number}"), methods, NOW)
        await identify(call(idp().mint(f"user-{number}")), methods, NOW)

    assert 4 >= len(methods.strangers)
    assert 4 >= len(methods.tokens)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"groups": "ml"}, "groups"),
        ({"groups": ["ml", 1]}, "groups"),
        ({"scope": 7}, "scope"),
        ({"amr": "pwd"}, "amr"),
        ({"acr": 1}, "acr"),
        ({"acr": ""}, "acr"),
        ({"auth_time": "now"}, "auth_time"),
        ({"auth_time": True}, "auth_time"),
        ({"auth_time": -1}, "auth_time"),
        ({"auth_time": 253_402_300_800}, "auth_time"),
    ],
)
async def test_claims_of_the_wrong_type_are_refused(changed: dict[str, object], name: str) -> None:
    """A claim that decides about rights is never guessed at."""
    with pytest.raises(Refused) as refused:
        await identify(call(forge(header(), claims(**changed))), Identification([issuer()]), NOW)

    assert (Reason.TOKEN_CLAIM_INVALID, name) == (refused.value.refusal.reason, refused.value.refusal.rule)


async def test_scopes_may_be_a_list_and_roles_may_come_from_the_token() -> None:
    """Some issuers write scopes as a list; roles of a token count only where a role rule says so."""
    methods = Identification(
        [issuer("ES256", roles_claim="realm.roles")],
        roles=RoleMap([RoleRule("admin", roles_from_token=frozenset({"root"}))]),
    )
    token = forge(header(), claims(scope=["a", "b"], realm={"roles": ["root", "x"]}))
    identity = await identify(call(token), methods, NOW)

    assert (frozenset({"a", "b"}), frozenset({"admin"})) == (identity.scopes, identity.roles)


async def test_legacy_tokens_need_an_explicit_type() -> None:
    """`JWT` is accepted only where the issuer's entry says so; such tokens may lack `client_id`."""
    body = claims()
    del body["client_id"], body["jti"]
    token = forge(header(typ="JWT"), body | {"azp": "web"})

    assert Reason.TOKEN_TYPE is await reason_of(call(token), Identification([issuer()]))
    identity = await identify(
        call(token), Identification([issuer("ES256", token_types=frozenset({"jwt"}))]), NOW
    )
    assert ("web", None) == (identity.client_id, identity.token_id)


@final
class Held:
    """Revocations that a test can change."""

    def __init__(self) -> None:
        self.version = 0
        self.is_current = True
        self.revoked: set[str] = set()
        self.asked = 0

    def find(self, identity: Identity, /) -> Revocation | None:
        self.asked += 1
        if identity.key in self.revoked:
            return Revocation("r1", Target.SUBJECT, identity.key, NOW, reason="stolen")
        return None


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        (lambda: call(idp().mint("alice")), f"{ISSUER}|alice"),
        (lambda: call(peer=certificate()), "CN=batch,O=Example"),
        (call, "anonymous|192.0.2.1"),
    ],
)
async def test_whoever_is_revoked_is_nobody(request_: Callable[[], Call], key: str) -> None:
    """Remembered or not, a revoked caller is refused from the next request on, and let in when it is lifted."""
    held = Held()
    methods = Identification([issuer()], anonymous_roles=frozenset({"guest"}), revocations=held)
    request = request_()
    assert key == (await identify(request, methods, NOW)).key
    held.revoked.add(key)
    held.version += 1
    with pytest.raises(Refused) as refused:
        await identify(request, methods, NOW)
    assert (Reason.REVOKED, "revocation r1 of subject: stolen") == (
        refused.value.refusal.reason,
        refused.value.refusal.note,
    )
    held.revoked.clear()
    held.version += 1

    assert key == (await identify(request, methods, NOW)).key


STEPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 60)),
    st.tuples(st.sampled_from(("withdraw", "publish")), st.just(0)),
    st.tuples(st.sampled_from(("revoke", "lift")), st.integers(0, 2)),
    st.tuples(st.just("ask"), st.integers(0, 2)),
)


@given(st.lists(STEPS, max_size=30))
async def test_no_token_outlives_its_end_its_key_or_its_revocation(steps: list[tuple[str, int]]) -> None:
    """Whatever was remembered before: accepted are exactly unexpired, unrevoked tokens of a published key."""
    keys, held, now, is_published = HeldKeys(signer()), Held(), NOW, True
    methods = Identification([issuer("ES256", keys=keys)], revocations=held)
    lifetimes = {"alice": 20, "bob": 80, "carol": 160}
    names = list(lifetimes)
    requests = [call(idp().mint(name, expires_in=seconds)) for name, seconds in lifetimes.items()]
    for step, value in [*steps, ("ask", 0), ("ask", 1), ("ask", 2)]:
        if step == "wait":
            now += value
        elif step in ("withdraw", "publish"):
            is_published = step == "publish"
            keys.replace(signer() if is_published else signer("ES256", "second"))
        elif step in ("revoke", "lift"):
            key = f"{ISSUER}|{names[value]}"
            held.revoked = held.revoked | {key} if step == "revoke" else held.revoked - {key}
            held.version += 1
        else:
            ends = NOW + lifetimes[names[value]] + 30  # the skew that every date is given
            is_good = is_published and now < ends and f"{ISSUER}|{names[value]}" not in held.revoked
            if is_good:
                assert names[value] == (await identify(requests[value], methods, now)).subject
            else:
                await reason_of(requests[value], methods, now)


async def test_revocations_are_looked_up_once_per_change() -> None:
    """A warm caller costs no look-up; every change costs each of them one."""
    held = Held()
    methods = Identification([issuer()], revocations=held)
    request = call(idp().mint())
    for _ in range(3):
        await identify(request, methods, NOW)
    assert 1 == held.asked
    held.version += 1
    for _ in range(3):
        await identify(request, methods, NOW)

    assert 2 == held.asked


async def test_nobody_is_believed_while_revocations_are_stale() -> None:
    """What may have been revoked long ago is not believed, warm or not."""
    held = Held()
    methods = Identification([issuer()], revocations=held)
    request = call(idp().mint())
    await identify(request, methods, NOW)
    held.is_current = False

    assert Reason.REVOCATIONS_STALE is await reason_of(request, methods)


async def test_nobody_is_believed_whose_keys_took_too_long() -> None:
    """Revocations that grow stale while an issuer's keys are fetched are not current any more."""
    held = Held()
    keys = HeldKeys(then=(signer("ES256"),))
    refresh = keys.refresh

    async def slowly() -> bool:
        held.is_current = False
        return await refresh()

    keys.refresh = slowly  # type: ignore[method-assign]  # of a double
    methods = Identification([issuer("ES256", keys=keys)], revocations=held)

    assert Reason.REVOCATIONS_STALE is await reason_of(call(idp().mint()), methods)


async def test_somebody_revoked_while_a_proof_is_claimed_is_nobody() -> None:
    """The store may take its time: who was clear before it was asked need not be afterwards."""
    held = Held()

    class Slow:
        async def check(self, *_: object) -> None:
            held.revoked.add(f"{ISSUER}|alice")
            held.version += 1

    methods = Identification([issuer()], revocations=held, possession=Slow())  # type: ignore[arg-type]  # a double
    token = idp().mint("alice", claims={"cnf": {"jkt": "t" * 43}})

    assert Reason.REVOKED is await reason_of(
        call(f"DPoP {token}".encode(), headers={b"dpop": b"proof"}), methods
    )
