"""`identify`: JWTs, opaque tokens and gateway keys side by side; what each proves, where, and for how long."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.gateway_key import compose
from gateway.core.identity import Identity
from gateway.core.refusal import Reason, Refusal, Refused
from gateway.core.revocation import Revocation, Target
from gateway.stages.identify import Identification, OpaqueIssuer, RoleMap, RoleRule, identify

from .parts import ISSUER, NOW, HeldKeys, call, certificate, idp, issuer, signer
from .test_gateway_keys import CURRENT, ID, KEY, OLD, STRANGE, HeldGatewayKeys, blind
from .test_opaque import Told, active, without

if TYPE_CHECKING:
    from gateway.core.call import Call

FIELD = b"x-api-key"


async def outcome(request: Call, methods: Identification, now: float = NOW) -> Identity | Reason:
    """Who calls, or why nobody does."""
    try:
        return await identify(request, methods, now)
    except Refused as refused:
        return refused.refusal.reason


def with_keys(*keys: object, **more: object) -> Identification:
    """An identification with gateway keys."""
    return Identification(keys=HeldGatewayKeys(*(keys or (KEY,))), **more)  # type: ignore[arg-type]


async def test_a_gateway_key_names_its_subject() -> None:
    """Its roles, groups and scopes are its record's; it is no token."""
    key = replace(KEY, groups=("ops",), scopes=frozenset({"models:chat"}))
    roles = RoleMap(
        [RoleRule("operator", groups=frozenset({"ops"})), RoleRule("other", groups=frozenset({"x"}))]
    )
    identity = await identify(call(CURRENT.decode()), with_keys(key, roles=roles), NOW)

    assert ("key|nightly", "key", "nightly") == (identity.key, identity.issuer, identity.subject)
    assert (("key",), ID, None, False) == (identity.methods, identity.key_id, identity.token, identity.bound)
    assert frozenset({"batch", "operator"}) == identity.roles
    assert (("ops",), frozenset({"models:chat"})) == (identity.groups, identity.scopes)
    assert (NOW - 100, NOW + 1000) == (identity.issued, identity.expires)
    assert CURRENT.decode() not in repr(identity)


async def test_a_certificate_is_evidence_beside_a_key() -> None:
    """It adds its SPIFFE ID, roles and end; a key that is bound to it is bound."""
    roles = RoleMap([RoleRule("workload", spiffe=("spiffe://example.org/*",))])
    peer = certificate(spiffe="spiffe://example.org/ci", not_after=NOW + 60)
    plain = await identify(call(CURRENT.decode(), peer), with_keys(roles=roles), NOW)
    bound = await identify(
        call(CURRENT.decode(), peer), with_keys(replace(KEY, certificates=frozenset({"f" * 43}))), NOW
    )

    assert (("key", "mtls"), NOW + 60, False) == (plain.methods, plain.expires, plain.bound)
    assert frozenset({"batch", "workload"}) == plain.roles
    assert ("spiffe://example.org/ci", "f" * 43) == (plain.spiffe_id, plain.certificate)
    assert bound.bound


async def test_a_key_is_taken_from_either_field() -> None:
    """As a bearer token, as OpenAI's clients send it, or in `x-api-key`, as Anthropic's do: one caller."""
    methods = with_keys()
    bearer = await identify(call(CURRENT.decode()), methods, NOW)
    field = await identify(call(headers={FIELD: CURRENT}), methods, NOW)

    assert bearer is field
    assert 1 == methods.keys.blinded  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (call(CURRENT.decode(), headers={FIELD: CURRENT}), Reason.CREDENTIAL_AMBIGUOUS),
        (call(headers={FIELD: CURRENT, b"api-key": b"x"}), Reason.CREDENTIAL_SCHEME),
        (call(headers={b"api-key": CURRENT}), Reason.CREDENTIAL_SCHEME),
        (call(headers={b"api-key": CURRENT}, peer=certificate()), Reason.CREDENTIAL_SCHEME),
        (call(headers={FIELD: CURRENT, b"dpop": b"x"}), Reason.CREDENTIAL_SCHEME),
        (call(headers={FIELD: b"sk-something"}), Reason.CREDENTIAL_SCHEME),
        (call(headers={FIELD: b""}), Reason.CREDENTIAL_SCHEME),
        (call(headers={FIELD: b"Bearer " + CURRENT}), Reason.CREDENTIAL_SCHEME),
        (call(headers={FIELD: CURRENT}, query="access_token=x"), Reason.CREDENTIAL_SCHEME),
        (call(headers={FIELD: STRANGE}), Reason.KEY_UNKNOWN),
        (call(headers={FIELD: CURRENT + b" "}), Reason.KEY_UNKNOWN),
        (call(STRANGE.decode()), Reason.KEY_UNKNOWN),
        (call(b"Basic " + CURRENT), Reason.CREDENTIAL_SCHEME),
    ],
)
async def test_other_uses_of_the_fields_are_refused(request_: Call, reason: Reason) -> None:
    """Two credentials are ambiguous; `x-api-key` holds a gateway key or is foreign; never anonymous."""
    methods = with_keys(anonymous_roles=frozenset({"public"}))

    assert reason is await outcome(request_, methods)


async def test_without_gateway_keys_there_are_none() -> None:
    """The field is foreign, and what looks like a key is shown to no issuer."""
    told = Told(active())
    methods = Identification([issuer()], opaque=[OpaqueIssuer(issuer(), told)])

    assert Reason.CREDENTIAL_SCHEME is await outcome(call(headers={FIELD: CURRENT}), methods)
    assert Reason.KEY_UNKNOWN is await outcome(call(CURRENT.decode()), methods)
    assert [] == told.asked


async def test_a_certificate_that_is_over_proves_nothing_beside_a_key() -> None:
    """Both parts of the proof must hold, from the cache too."""
    methods = with_keys()
    peer = certificate(not_after=NOW + 10)

    assert isinstance(await outcome(call(CURRENT.decode(), peer), methods), Identity)
    assert Reason.CERTIFICATE_EXPIRED is await outcome(call(CURRENT.decode(), peer), methods, NOW + 11)


async def test_a_removed_key_is_dead_at_once() -> None:
    """A change of the file voids what was proven before it, and only that of keys that are gone stays void."""
    methods = with_keys()
    keys = methods.keys
    assert isinstance(keys, HeldGatewayKeys)
    await identify(call(CURRENT.decode()), methods, NOW)
    keys.replace(replace(KEY, roles=frozenset({"other"})))
    changed = await identify(call(CURRENT.decode()), methods, NOW)
    keys.replace()

    assert frozenset({"other"}) == changed.roles
    assert Reason.KEY_UNKNOWN is await outcome(call(CURRENT.decode()), methods)


async def test_a_key_from_elsewhere_finds_no_open_door() -> None:
    """What a key proved from its network is not lent to another address, and it stays cached for its own."""
    methods = with_keys(replace(KEY, networks=(ip_network("10.0.0.0/8"),)))
    near, far = call(CURRENT.decode(), address="10.0.0.1"), call(CURRENT.decode(), address="192.0.2.1")
    first = await identify(near, methods, NOW)

    assert Reason.KEY_BINDING is await outcome(far, methods)
    assert first is await identify(near, methods, NOW)
    assert 2 == methods.keys.blinded  # type: ignore[union-attr]


async def test_a_bound_key_is_not_lent_to_another_connection() -> None:
    """From the cache neither."""
    methods = with_keys(replace(KEY, certificates=frozenset({"f" * 43})))

    assert isinstance(await outcome(call(CURRENT.decode(), certificate()), methods), Identity)
    assert Reason.KEY_BINDING is await outcome(call(CURRENT.decode()), methods)
    assert Reason.KEY_BINDING is await outcome(call(CURRENT.decode(), certificate("g" * 43)), methods)


class Revoked:
    """Revocations that begin when a test says so."""

    def __init__(self) -> None:
        self.version = 1
        self.is_current = True
        self.now: Revocation | None = None

    def find(self, identity: Identity, /) -> Revocation | None:
        assert identity.key
        return self.now


@pytest.mark.parametrize("credential", [CURRENT, b"opaque"])
async def test_revocations_end_keys_and_opaque_tokens(credential: bytes) -> None:
    """Cached or not, whoever was revoked is nobody."""
    revoked = Revoked()
    methods = with_keys(
        issuers=[issuer()], opaque=[OpaqueIssuer(issuer(), Told(active()))], revocations=revoked
    )
    assert isinstance(await outcome(call(credential.decode()), methods), Identity)
    revoked.now = Revocation("r", Target.SUBJECT, "key|nightly", NOW)
    revoked.version += 1

    assert Reason.REVOKED is await outcome(call(credential.decode()), methods)
    fresh = with_keys(
        issuers=[issuer()], opaque=[OpaqueIssuer(issuer(), Told(active()))], revocations=revoked
    )
    assert Reason.REVOKED is await outcome(call(credential.decode()), fresh)


async def test_an_opaque_token_names_its_subject() -> None:
    """As a JWT of that issuer would: same name, same roles; its issuer is asked once in ten seconds."""
    told = Told(active(scope="models:chat", groups=["ml"], jti="j"))
    one = issuer()
    roles = RoleMap([RoleRule("researcher", groups=frozenset({"ml"}))])
    methods = Identification([one], opaque=[OpaqueIssuer(one, told)], roles=roles)
    identity = await identify(call("opaque"), methods, NOW)
    again = await identify(call("opaque"), methods, NOW + 9)

    assert (f"{ISSUER}|alice", ("opaque",), frozenset({"researcher"})) == (
        identity.key,
        identity.methods,
        identity.roles,
    )
    assert (16, "j", None, False) == (
        len(identity.token),
        identity.token_id,
        identity.signing_key,
        identity.bound,
    )  # type: ignore[arg-type]
    assert identity is again
    assert 1 == len(told.asked)
    told.asked_at = NOW + 10
    assert identity is not await identify(call("opaque"), methods, NOW + 10)
    assert 2 == len(told.asked)


async def test_an_opaque_token_beside_a_certificate() -> None:
    """The certificate is evidence; the token's proof is good on its connections alone."""
    told = Told(active(cnf={"x5t#S256": "f" * 43}))
    methods = Identification([issuer()], opaque=[OpaqueIssuer(issuer(), told)])
    identity = await identify(call("opaque", certificate()), methods, NOW)

    assert (("mtls", "opaque"), True) == (identity.methods, identity.bound)
    assert Reason.TOKEN_BINDING is await outcome(call("opaque"), methods)


async def test_what_looks_like_a_jws_is_never_shown_to_an_issuer() -> None:
    """A forged JWT is a forged JWT, not a token to ask about; and a genuine one needs no question."""
    told = Told(active())
    methods = Identification([issuer()], opaque=[OpaqueIssuer(issuer(), told)])

    assert Reason.TOKEN_MALFORMED is await outcome(call("a.b.c"), methods)
    assert isinstance(await outcome(call(idp().mint()), methods), Identity)
    assert [] == told.asked


class Checked:
    """A check of proofs that remembers what it was asked, and refuses when a test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal: Refusal | None = None

    async def check(self, call: Call, digest: bytes, thumbprint: str, now: float) -> None:
        self.asked.append(thumbprint)
        if self.refusal is not None:
            raise Refused(self.refusal)


async def test_a_proof_is_checked_with_every_request() -> None:
    """An opaque token that is bound to a key is cached like a JWT; its proof is not, and Bearer does not find it."""
    told, checked = Told(active(token_type="DPoP", cnf={"jkt": "k" * 43})), Checked()
    methods = Identification([issuer()], opaque=[OpaqueIssuer(issuer(), told)], possession=checked)  # type: ignore[arg-type]
    first = await identify(call(b"DPoP opaque"), methods, NOW)
    again = await identify(call(b"DPoP opaque"), methods, NOW)

    assert first is again
    assert (("dpop", "opaque"), "k" * 43, True) == (first.methods, first.proof_key, first.bound)
    assert (["k" * 43] * 2, 1) == (checked.asked, len(told.asked))
    assert Reason.TOKEN_BINDING is await outcome(call("opaque"), methods)
    checked.refusal = Refusal(Reason.PROOF_REPLAYED)
    assert Reason.PROOF_REPLAYED is await outcome(call(b"DPoP opaque"), methods)


async def test_a_gateway_key_has_no_proof() -> None:
    """Under DPoP it is refused, known or not, and shown to nobody."""
    told = Told(active())
    methods = with_keys(
        issuers=[issuer()],
        opaque=[OpaqueIssuer(issuer(), told)],
        possession=Checked(),
    )
    await identify(call(CURRENT.decode()), methods, NOW)

    assert Reason.KEY_BINDING is await outcome(call(b"DPoP " + CURRENT), methods)
    assert Reason.KEY_BINDING is await outcome(call(b"DPoP " + STRANGE), methods)
    assert [] == told.asked


async def test_without_anybody_to_ask_tokens_are_malformed() -> None:
    """As before."""
    assert Reason.TOKEN_MALFORMED is await outcome(call("opaque"), Identification([issuer()]))


async def test_no_two_kinds_of_callers_share_a_name() -> None:
    """No issuer can be called as gateway keys' owners are, and none can call a user as clients are called."""
    with pytest.raises(ValueError, match="issuer"):
        issuer(name="key")
    methods = Identification([issuer()])

    assert Reason.TOKEN_CLAIM_INVALID is await outcome(call(idp().mint("client_id=app")), methods)


CREDENTIALS = [CURRENT, OLD, STRANGE, compose("d" * 20, bytes(32)).encode(), b"opaque-1", b"opaque-2"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CREDENTIALS),
            st.sampled_from([None, certificate(), certificate("g" * 43, not_after=NOW + 50)]),
            st.sampled_from(["10.0.0.1", "192.0.2.1"]),
            st.integers(0, 400),
        ),
        max_size=30,
    )
)
async def test_a_cache_never_changes_who_somebody_is(
    requests: list[tuple[bytes, object, str, int]],
) -> None:
    """Whatever came before, each request ends as it would alone; no proof outlives any part of it."""
    second = replace(
        KEY,
        id="d" * 20,
        subject="other",
        digest=blind(CREDENTIALS[3]),
        previous=bytes(32),
        expires=NOW + 200,
        networks=(ip_network("10.0.0.0/8"),),
    )

    def methods() -> Identification:
        one = issuer("ES256", keys=HeldKeys(signer()))
        return Identification(
            [one],
            opaque=[
                OpaqueIssuer(one, Told(active(exp=int(NOW) + 100)), b"opaque-1"),
                OpaqueIssuer(one, Told(without("sub"))),
            ],
            keys=HeldGatewayKeys(KEY, second),
        )

    shared = methods()
    for credential, peer, address, after in sorted(requests, key=lambda each: each[3]):
        now = NOW + after
        request = call(credential.decode(), peer, address=address)  # type: ignore[arg-type]
        alone, found = await outcome(request, methods(), now), await outcome(request, shared, now)
        assert alone == found
        if isinstance(found, Identity):
            assert now < found.expires
