"""`svid`: which tokens are JWT-SVIDs, and which of those prove a workload."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.core.refusal import Reason, Refused
from gateway.credentials.signing import key_set
from gateway.stages.identify import Domain, Identification, Possession, RoleMap, RoleRule, identify
from gateway.stages.identify.jwt import MAX_KID_CHARACTERS
from gateway.stages.identify.svid import claimed

from .parts import ISSUER, NOW, HeldKeys, call, certificate, encode, forge, idp, issuer, signer
from .proofs import OnceInATest, proof_for, proven_call, read_key, rules

DOMAIN = "example.org"
ID = f"spiffe://{DOMAIN}/batch/nightly"
AUDIENCE = "spiffe://example.org/gateway"


def header(**members: object) -> dict[str, object]:
    """A good header, with changes; None leaves a member out."""
    made = {"alg": "ES256", "kid": signer().kid, "typ": "JWT"} | members
    return {name: value for name, value in made.items() if value is not None}


def claims(**members: object) -> dict[str, object]:
    """Good claims, with changes; None leaves a claim out."""
    made = {"sub": ID, "aud": [AUDIENCE], "exp": int(NOW) + 300, "iat": int(NOW)} | members
    return {name: value for name, value in made.items() if value is not None}


def domain(*, keys: HeldKeys | None = None, name: str = DOMAIN, **options: Any) -> Domain:
    """A trust domain with one key."""
    return Domain(name, keys or HeldKeys(signer()), AUDIENCE, **options)


def methods(*domains: Domain, **options: Any) -> Identification:
    """An issuer and a trust domain, whose keys differ."""
    roles = RoleMap([RoleRule("batch", spiffe=("spiffe://example.org/batch/*",))])
    return Identification(
        [issuer(keys=HeldKeys(signer("ES256", "issuer")))],
        domains=domains or [domain()],
        roles=roles,
        **options,
    )


async def reason(
    token: str, known: Identification | None = None, peer: Any = None
) -> tuple[Reason, str | None]:
    """Why a token is refused."""
    with pytest.raises(Refused) as refused:
        await identify(call(token, peer), known or methods(), NOW)
    return refused.value.refusal.reason, refused.value.refusal.rule


async def test_a_jwt_svid_names_its_workload() -> None:
    """Its SPIFFE ID is the caller, the same as with an X.509-SVID, and so are its roles."""
    token = forge(header(), claims(jti="j-1", groups=["admins"]))
    known = methods()
    found = await identify(call(token), known, NOW)
    by_certificate = await identify(call(peer=certificate(spiffe=ID)), known, NOW)

    assert (ID, ID, "spiffe://example.org") == (found.key, found.subject, found.issuer)
    assert (("jwt",), ID, frozenset({"batch"})) == (found.methods, found.spiffe_id, found.roles)
    assert (by_certificate.key, by_certificate.roles) == (found.key, found.roles)
    assert ("j-1", signer().kid, NOW, NOW + 330) == (
        found.token_id,
        found.signing_key,
        found.issued,
        found.expires,
    )
    assert ((), frozenset(), None) == (found.groups, found.scopes, found.certificate)
    assert found is await identify(call(token), known, NOW + 1)


async def test_the_proof_ends_with_the_token_and_with_the_keys() -> None:
    """A bundle that drops the key voids what was kept."""
    keys = HeldKeys(signer())
    known = methods(domain(keys=keys))
    token = forge(header(), claims())
    await identify(call(token), known, NOW)

    with pytest.raises(Refused) as refused:
        await identify(call(token), known, NOW + 330)
    assert Reason.TOKEN_EXPIRED is refused.value.refusal.reason
    keys.replace(signer("ES256", "next"))
    assert (Reason.TOKEN_KEY_UNKNOWN, None) == await reason(token, known)


async def test_the_proof_ends_with_the_certificate_beside_it() -> None:
    """It is remembered under that certificate, whose end no connection outlives."""
    known, peer = methods(), certificate(spiffe=ID, not_after=NOW + 10)
    token = forge(header(), claims())
    await identify(call(token, peer), known, NOW + 9)

    with pytest.raises(Refused) as refused:
        await identify(call(token, peer), known, NOW + 10)
    assert Reason.CERTIFICATE_EXPIRED is refused.value.refusal.reason


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({}, None),
        ({"typ": None}, None),
        ({"typ": "JOSE"}, None),
        ({"typ": "jwt"}, Reason.TOKEN_TYPE),
        ({"typ": "at+jwt"}, Reason.TOKEN_TYPE),
        ({"typ": 1}, Reason.TOKEN_TYPE),
        ({"typ": []}, Reason.TOKEN_TYPE),
        ({"typ": {"JWT": 1}}, Reason.TOKEN_TYPE),
        ({"alg": "EdDSA"}, Reason.TOKEN_ALGORITHM),
        ({"alg": "Ed25519"}, Reason.TOKEN_ALGORITHM),
        ({"alg": "HS256"}, Reason.TOKEN_ALGORITHM),
        ({"alg": "none"}, Reason.TOKEN_ALGORITHM),
        ({"alg": None}, Reason.TOKEN_ALGORITHM),
        ({"alg": ["ES256"]}, Reason.TOKEN_ALGORITHM),
        ({"alg": "ES384"}, Reason.TOKEN_KEY_UNKNOWN),
        ({"kid": None}, Reason.TOKEN_MALFORMED),
        ({"kid": ""}, Reason.TOKEN_MALFORMED),
        ({"kid": 7}, Reason.TOKEN_MALFORMED),
        ({"kid": "x" * (MAX_KID_CHARACTERS + 1)}, Reason.TOKEN_MALFORMED),
        ({"kid": "other"}, Reason.TOKEN_KEY_UNKNOWN),
        ({"jku": "https://evil"}, Reason.TOKEN_MALFORMED),
        ({"jwk": {}}, Reason.TOKEN_MALFORMED),
        ({"x5c": []}, Reason.TOKEN_MALFORMED),
        ({"crit": ["b64"]}, Reason.TOKEN_MALFORMED),
        ({"cty": "x"}, Reason.TOKEN_MALFORMED),
    ],
)
async def test_headers(head: dict[str, object], expected: Reason | None) -> None:
    """Three members, three types, nine algorithms, a key that is named (JWT-SVID, section 2)."""
    token = forge(header(**head), claims())
    if expected is None:
        assert ID == (await identify(call(token), methods(), NOW)).key
    else:
        assert expected is (await reason(token))[0]


@pytest.mark.parametrize(
    ("changes", "expected", "rule"),
    [
        ({"aud": AUDIENCE}, None, None),
        ({"iat": None}, None, None),
        ({"nbf": int(NOW) + 30}, None, None),
        ({"iss": "https://spire.example.org"}, None, None),
        ({"iss": 7}, None, None),
        ({"iat": int(NOW) + 30}, None, None),
        ({"exp": int(NOW) - 29, "iat": int(NOW) - 60}, None, None),
        ({"exp": int(NOW) - 29, "iat": None}, None, None),
        ({"aud": None}, Reason.TOKEN_CLAIM_MISSING, "aud"),
        ({"aud": []}, Reason.TOKEN_AUDIENCE, None),
        ({"aud": [AUDIENCE, "another"]}, Reason.TOKEN_AUDIENCE, None),
        ({"aud": "another"}, Reason.TOKEN_AUDIENCE, None),
        ({"exp": None}, Reason.TOKEN_CLAIM_MISSING, "exp"),
        ({"exp": "soon"}, Reason.TOKEN_CLAIM_INVALID, "exp"),
        ({"exp": int(NOW) - 30}, Reason.TOKEN_EXPIRED, None),
        ({"exp": int(NOW) + 3601}, Reason.TOKEN_LIFETIME, None),
        ({"exp": int(NOW) + 3601, "iat": None}, Reason.TOKEN_LIFETIME, None),
        ({"exp": int(NOW) + 5, "iat": int(NOW) + 5}, Reason.TOKEN_LIFETIME, None),
        ({"iat": 0}, Reason.TOKEN_LIFETIME, None),
        ({"iat": 1.5}, Reason.TOKEN_CLAIM_INVALID, "iat"),
        ({"iat": int(NOW) + 31}, Reason.TOKEN_NOT_YET_VALID, None),
        ({"nbf": int(NOW) + 31}, Reason.TOKEN_NOT_YET_VALID, None),
        ({"nbf": "now"}, Reason.TOKEN_CLAIM_INVALID, "nbf"),
        ({"jti": 7}, Reason.TOKEN_CLAIM_INVALID, "jti"),
        ({"sub": f"spiffe://{DOMAIN}"}, Reason.TOKEN_CLAIM_INVALID, "sub"),
        ({"cnf": {"jkt": 7}}, Reason.TOKEN_BINDING, None),
    ],
)
async def test_claims(changes: dict[str, object], expected: Reason | None, rule: str | None) -> None:
    """This gateway alone, a bounded life, a workload, and no binding that does not hold."""
    token = forge(header(), claims(**changes))
    if expected is None:
        assert ID == (await identify(call(token), methods(), NOW)).key
    else:
        assert (expected, rule) == await reason(token)


async def test_without_a_time_of_issue_a_token_is_as_old_as_can_be() -> None:
    """What asks for the age of a token, or voids what was issued before, sees zero."""
    found = await identify(call(forge(header(), claims(iat=None))), methods(), NOW)

    assert 0.0 == found.issued


async def test_a_domain_s_keys_are_its_own() -> None:
    """Neither another domain's key nor an issuer's signs for it, and a changed octet is seen."""
    other = domain(name="other.org", keys=HeldKeys(signer("ES256", "other")))
    known = methods(domain(), other)
    stranger = forge(header(), claims(sub="spiffe://other.org/a"))
    issued = idp("ES256", "issuer").signer.sign(claims(), header(kid=signer("ES256", "issuer").kid)).decode()
    good = forge(header(), claims())
    forged = good[:-8] + ("A" if good[-8] != "A" else "B") + good[-7:]

    assert (Reason.TOKEN_KEY_UNKNOWN, None) == await reason(stranger, known)
    assert (Reason.TOKEN_KEY_UNKNOWN, None) == await reason(issued, known)
    assert (Reason.TOKEN_BAD_SIGNATURE, None) == await reason(forged, known)


async def test_a_configured_issuer_s_token_is_that_issuer_s_alone() -> None:
    """Whatever its subject says, and whatever becomes of it: there is no second way."""
    keys = HeldKeys(signer())
    known = methods(domain(keys=keys))
    token = forge(header(), claims(iss=ISSUER))
    proper = idp("ES256", "issuer").mint(ID)

    assert Reason.TOKEN_TYPE is (await reason(token, known))[0]
    found = await identify(call(proper), known, NOW)
    assert (f"{ISSUER}|{ID}", None) == (found.key, found.spiffe_id)
    assert [] == keys.lookups


async def test_other_tokens_are_no_jwt_svids() -> None:
    """Unknown domains, other subjects, unreadable ones: judged as every token is, and refused."""
    known = methods()
    for changes in (
        {"sub": "spiffe://unknown.org/a"},
        {"sub": "alice"},
        {"sub": 7},
        {"sub": "spiffe://EXAMPLE.org/a"},
    ):
        assert (Reason.TOKEN_CLAIM_MISSING, None) == await reason(forge(header(), claims(**changes)), known)
    for token in ("x", "a.b", forge(b"[]", claims()), forge(header(), b"[]")):
        assert Reason.TOKEN_MALFORMED is (await reason(token, known))[0]
    assert claimed(b"x", (), known.domains) is None
    assert claimed(forge(header(), b"[]").encode(), (), known.domains) is None
    assert (Reason.TOKEN_CLAIM_MISSING, None) == await reason(
        forge(header(), claims()), Identification([issuer()])
    )


async def test_the_connection_s_certificate() -> None:
    """The same workload is evidence, another one refuses, a plain certificate adds its names."""
    token = forge(header(), claims())
    known = methods()
    same = await identify(call(token, certificate(spiffe=ID, not_after=NOW + 60)), known, NOW)
    plain = await identify(call(token, certificate("p" * 43, dns=("a.example",))), known, NOW)

    assert (("jwt", "mtls"), "f" * 43, NOW + 60) == (same.methods, same.certificate, same.expires)
    assert (ID, ("jwt", "mtls"), ID) == (plain.key, plain.methods, plain.spiffe_id)
    other = certificate("o" * 43, spiffe="spiffe://example.org/batch/other")
    assert (Reason.TOKEN_BINDING, None) == await reason(token, known, other)
    assert (Reason.TOKEN_BINDING, None) == await reason(token, known, other)


async def test_a_bound_jwt_svid_needs_its_certificate() -> None:
    """`cnf` counts here as everywhere."""
    token = forge(header(), claims(cnf={"x5t#S256": "f" * 43}))
    known = methods()
    found = await identify(call(token, certificate(spiffe=ID)), known, NOW)

    assert found.bound
    assert (Reason.TOKEN_BINDING, None) == await reason(token, known)
    assert (Reason.TOKEN_BINDING, None) == await reason(token, known, certificate("g" * 43, spiffe=ID))


async def test_a_new_key_is_looked_for_once() -> None:
    """A domain that has just rotated is asked before its workloads are refused."""
    keys = HeldKeys(signer("ES256", "old"), then=(signer(),))
    known = methods(domain(keys=keys))

    assert ID == (await identify(call(forge(header(), claims())), known, NOW)).key
    assert 1 == keys.refreshes


def test_the_header_s_json_is_strict() -> None:
    """A member that stands twice has no meaning."""
    twice = b'{"alg":"ES256","alg":"none","kid":"a"}'
    token = (encode(twice) + b"." + encode(msgspec.json.encode(claims())) + b".AAAA").decode()

    assert claimed(token.encode(), (), methods().domains) is not None


async def test_a_doubled_member_is_refused() -> None:
    """Once it is read."""
    twice = b'{"alg":"ES256","alg":"none","kid":"a"}'

    assert Reason.TOKEN_MALFORMED is (await reason(forge(twice, claims())))[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Example.org"}, "trust domain"),
        ({"name": "example.org/a"}, "trust domain"),
        ({"skew": 61.0}, "skew"),
        ({"skew": -1.0}, "skew"),
        ({"max_lifetime": 0.0}, "max_lifetime"),
    ],
)
def test_domains_that_would_accept_too_much(options: dict[str, Any], message: str) -> None:
    """They cannot be expressed."""
    with pytest.raises(ValueError, match=message):
        domain(**options)
    with pytest.raises(ValueError, match="audience"):
        Domain(DOMAIN, HeldKeys(signer()), "")


def test_a_domain_has_one_entry() -> None:
    """Two could be judged either way."""
    with pytest.raises(ValueError, match="two entries"):
        methods(domain(), domain())
    assert key_set(signer())


async def test_a_jwt_svid_that_is_bound_to_a_key() -> None:
    """It is worth nothing without a fresh proof, and an unbound one is not taken under that scheme."""
    thumbprint = signer("ES256", "holder").thumbprint
    bound = forge(header(), claims(cnf={"jkt": thumbprint}))
    known = Identification(domains=[domain()], possession=Possession(rules(), read_key, once=OnceInATest()))
    found = await identify(proven_call(bound, proof_for(bound)), known, NOW)

    assert (ID, ("dpop", "jwt"), thumbprint) == (found.key, found.methods, found.proof_key)
    assert (Reason.TOKEN_BINDING, None) == await reason(bound, known)
    with pytest.raises(Refused) as refused:
        await identify(proven_call(bound, proof_for(bound, "thief")), known, NOW)
    assert Reason.PROOF_KEY is refused.value.refusal.reason
    plain = forge(header(), claims())
    with pytest.raises(Refused) as refused:
        await identify(proven_call(plain, proof_for(plain)), known, NOW)
    assert Reason.TOKEN_BINDING is refused.value.refusal.reason
