"""Opaque tokens: whom they are shown to, and what an answer must say."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, final

import msgspec
import pytest

from gateway.core.introspection import Introspected
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.stages.identify.opaque import MAX_BELIEF, OpaqueIssuer, OpaqueIssuers, verify_opaque

from .parts import AUDIENCE, ISSUER, NOW, certificate, issuer

if TYPE_CHECKING:
    from gateway.core.identity import PeerCertificate
    from gateway.stages.identify.identity import Verified

TOKEN = b"opaque-token-1"


@final
class Told:
    """An issuer that always says the same, and counts."""

    def __init__(self, answer: dict[str, object] | bytes | Refusal, asked: float = NOW) -> None:
        self.answer = answer if isinstance(answer, bytes | Refusal) else msgspec.json.encode(answer)
        self.asked_at = asked
        self.asked: list[tuple[bytes, bytes, str]] = []
        self.good: list[str] = []

    async def ask(self, token: bytes, digest: bytes, address: str, /) -> Introspected:
        self.asked.append((token, digest, address))
        if isinstance(self.answer, Refusal):
            raise Refused(self.answer)
        return Introspected(self.answer, self.asked_at)

    def believed(self, address: str, /) -> None:
        self.good.append(address)


def active(**members: object) -> dict[str, object]:
    """A good answer, with changes."""
    return {
        "active": True,
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "iat": int(NOW),
        "exp": int(NOW) + 300,
        "client_id": "app",
        "token_type": "Bearer",
    } | members


def without(*names: str, **members: object) -> dict[str, object]:
    """A good answer that lacks something."""
    return {name: value for name, value in active(**members).items() if name not in names}


async def check(
    answer: dict[str, object] | bytes,
    peer: PeerCertificate | None = None,
    *,
    has_proof: bool = False,
    now: float = NOW,
) -> Verified | Refusal:
    """What an answer makes of a token."""
    told = Told(answer)
    issuers = OpaqueIssuers([OpaqueIssuer(issuer(), told)])
    try:
        found = await verify_opaque(
            TOKEN, sha256(TOKEN).digest(), issuers, peer, "192.0.2.1", now, has_proof=has_proof
        )
    except Refused as refused:
        assert [] == told.good
        return refused.refusal
    assert ["192.0.2.1"] == told.good
    return found


async def test_an_active_token_is_verified_as_a_jwt_is() -> None:
    """Its claims become the caller's; the answer is believed for ten seconds from when it was asked for."""
    found = await check(active(scope="models:chat", groups=["ml"], username="ignored"))

    assert not isinstance(found, Refusal)
    assert ("opaque", False, NOW + MAX_BELIEF) == (found.method, found.is_signed, found.until)
    assert (int(NOW), int(NOW) + 300, sha256(TOKEN).digest()) == (found.issued, found.expires, found.digest)
    assert ("alice", "models:chat") == (found.claims["sub"], found.claims["scope"])
    assert "active" not in found.claims


async def test_a_client_on_its_own_behalf_has_a_name_of_its_own() -> None:
    """Without `sub` the client is the caller, under a name that no issuer can give to a user."""
    found = await check(without("sub"))

    assert not isinstance(found, Refusal)
    assert "client_id=app" == found.claims["sub"]


@pytest.mark.parametrize(
    "answer", [without("iss"), without("token_type"), active(token_type="bearer"), active(aud=[AUDIENCE])]
)
async def test_what_may_be_left_out(answer: dict[str, object]) -> None:
    """`iss` and `token_type` are optional in an answer (RFC 7662, section 2.2); only we were asked for."""
    assert not isinstance(await check(answer), Refusal)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"active": False}, Reason.TOKEN_INACTIVE),
        (active(active=False), Reason.TOKEN_INACTIVE),
        (active(active="true"), Reason.TOKEN_UNCHECKED),
        (active(active=1), Reason.TOKEN_UNCHECKED),
        (active(active=None), Reason.TOKEN_UNCHECKED),
        (without("active"), Reason.TOKEN_UNCHECKED),
        (b"", Reason.TOKEN_UNCHECKED),
        (b"true", Reason.TOKEN_UNCHECKED),
        (b'["active"]', Reason.TOKEN_UNCHECKED),
        (b'{"active": true', Reason.TOKEN_UNCHECKED),
        (b'{"active":false,"active":true}', Reason.TOKEN_UNCHECKED),
        (b'{"active":true,"\\u0061ctive":false}', Reason.TOKEN_UNCHECKED),
        (b"\xef\xbb\xbf{}", Reason.TOKEN_UNCHECKED),
        (b'{"active":true,"a":' + b"[" * 50 + b"]" * 50 + b"}", Reason.TOKEN_UNCHECKED),
        (active(iss="https://other.example.org"), Reason.TOKEN_CLAIM_INVALID),
        (active(iss=None), Reason.TOKEN_CLAIM_INVALID),
        (active(iss=ISSUER + "/"), Reason.TOKEN_CLAIM_INVALID),
        (without("aud"), Reason.TOKEN_CLAIM_MISSING),
        (active(aud="other"), Reason.TOKEN_AUDIENCE),
        (active(aud=[AUDIENCE, "other"]), Reason.TOKEN_AUDIENCE),
        (without("exp"), Reason.TOKEN_CLAIM_MISSING),
        (without("iat"), Reason.TOKEN_CLAIM_MISSING),
        (active(exp=int(NOW) - 31), Reason.TOKEN_EXPIRED),
        (active(exp=float(NOW + 300)), Reason.TOKEN_CLAIM_INVALID),
        (active(exp=str(int(NOW) + 300)), Reason.TOKEN_CLAIM_INVALID),
        (active(exp=int(NOW) + 7200), Reason.TOKEN_LIFETIME),
        (active(iat=int(NOW) + 31, exp=int(NOW) + 40), Reason.TOKEN_NOT_YET_VALID),
        (active(nbf=int(NOW) + 31), Reason.TOKEN_NOT_YET_VALID),
        (active(sub=""), Reason.TOKEN_CLAIM_INVALID),
        (active(sub=None), Reason.TOKEN_CLAIM_MISSING),
        (active(sub="client_id=app"), Reason.TOKEN_CLAIM_INVALID),
        (without("sub", "client_id"), Reason.TOKEN_CLAIM_MISSING),
        (without("sub", client_id=7), Reason.TOKEN_CLAIM_INVALID),
        (active(token_type=7), Reason.TOKEN_CLAIM_INVALID),
        (active(token_type="DPoP"), Reason.TOKEN_BINDING),
        (active(token_type="mac"), Reason.TOKEN_BINDING),
        (active(cnf={"x5t#S256": "f" * 43}), Reason.TOKEN_BINDING),
        (active(cnf={"jkt": "f" * 43}), Reason.TOKEN_BINDING),
        (active(cnf=None), Reason.TOKEN_BINDING),
    ],
)
async def test_answers_that_prove_nothing(answer: dict[str, object] | bytes, reason: Reason) -> None:
    """`active` must be the boolean true, and then every claim must be what a JWT's must be."""
    refusal = await check(answer)

    assert isinstance(refusal, Refusal)
    assert reason is refusal.reason
    assert (Source.GATEWAY if reason is Reason.TOKEN_UNCHECKED else Source.CLIENT) is refusal.source


async def test_a_token_is_bound_to_its_certificate() -> None:
    """The same check as for a JWT (RFC 8705, section 3.2)."""
    answer = active(cnf={"x5t#S256": "f" * 43})

    assert not isinstance(await check(answer, certificate()), Refusal)
    assert isinstance(await check(answer, certificate("g" * 43)), Refusal)


async def test_the_type_must_fit_the_scheme() -> None:
    """A token without type is of the scheme's; one of type Bearer is none that comes with a proof."""
    refusal = await check(active(), has_proof=True)

    assert isinstance(refusal, Refusal)
    assert Reason.TOKEN_BINDING is refusal.reason


@pytest.mark.parametrize("more", [{"token_type": "DPoP"}, {"token_type": "dpop"}, {}])
async def test_a_token_bound_to_a_key_needs_its_scheme(more: dict[str, object]) -> None:
    """Under DPoP its key is returned for the proof to be checked; under Bearer it is worth nothing (RFC 9449)."""
    answer = without("token_type") | {"cnf": {"jkt": "k" * 43}} | more
    found = await check(answer, has_proof=True)
    refused = await check(answer)

    assert not isinstance(found, Refusal)
    assert {"jkt": "k" * 43} == found.claims["cnf"]
    assert isinstance(refused, Refusal)
    assert Reason.TOKEN_BINDING is refused.reason


async def test_a_token_bound_to_nothing_is_none_of_that_scheme() -> None:
    """It would claim a proof that nobody could check."""
    refusal = await check(without("token_type"), has_proof=True)

    assert isinstance(refusal, Refusal)
    assert Reason.TOKEN_BINDING is refusal.reason


async def test_a_refusal_of_the_asker_goes_through() -> None:
    """Whoever could not be asked says why."""
    refusal = Refusal(Reason.TOKEN_UNCHECKED, note="timeout")
    issuers = OpaqueIssuers([OpaqueIssuer(issuer(), Told(refusal))])
    with pytest.raises(Refused) as refused:
        await verify_opaque(TOKEN, b"", issuers, None, "192.0.2.1", NOW)

    assert refusal is refused.value.refusal


async def test_a_token_is_shown_to_one_issuer() -> None:
    """By its first characters; what no prefix fits is the default's, and a gateway key nobody's."""
    first, second, default = Told(active()), Told(active()), Told(active())
    issuers = OpaqueIssuers(
        [
            OpaqueIssuer(issuer(), default),
            OpaqueIssuer(issuer(), first, b"one_"),
            OpaqueIssuer(issuer(), second, b"two_"),
        ]
    )
    for token in (b"one_a", b"two_a", b"one", b"three", b"gk_something"):
        entry = issuers.find(token)
        if entry is not None:
            await entry.introspection.ask(token, b"", "a")

    assert [[b"one_a"], [b"two_a"], [b"one", b"three"]] == [
        [token for token, _, _ in told.asked] for told in (first, second, default)
    ]
    assert issuers
    assert not OpaqueIssuers()
    assert OpaqueIssuers([OpaqueIssuer(issuer(), first, b"one_")])


async def test_a_token_of_nobody_is_refused_without_a_question() -> None:
    """No prefix fits and there is no default; or the token is longer than any token is."""
    told = Told(active())
    issuers = OpaqueIssuers([OpaqueIssuer(issuer(), told, b"one_")])
    reasons = []
    for token in (b"two_a", b"one_" + b"a" * 8192):
        with pytest.raises(Refused) as refused:
            await verify_opaque(token, b"", issuers, None, "192.0.2.1", NOW)
        reasons.append(refused.value.refusal.reason)

    assert [Reason.TOKEN_MALFORMED, Reason.TOKEN_TOO_LARGE] == reasons
    assert [] == told.asked


@pytest.mark.parametrize(
    "prefixes",
    [(b"", b""), (b"a", b"a"), (b"a", b"ab"), (b"ab", b"a"), (b"gk_",), (b"g",), (b"gk_x",)],
)
def test_ambiguous_issuers_are_refused(prefixes: tuple[bytes, ...]) -> None:
    """No token may be shown to two issuers, and no gateway key to any."""
    with pytest.raises(ValueError, match="prefix"):
        OpaqueIssuers([OpaqueIssuer(issuer(), Told(active()), prefix) for prefix in prefixes])


@pytest.mark.parametrize("belief", [0.0, -1.0, 10.1, float("nan"), float("inf")])
def test_answers_are_never_believed_for_long(belief: float) -> None:
    """A revoked token is dead within ten seconds, whatever the configuration says."""
    with pytest.raises(ValueError, match="at most 10 seconds"):
        OpaqueIssuers([OpaqueIssuer(issuer(), Told(active()), b"", belief)])
