"""`possession`: a token that is bound to a key is worth nothing without a fresh proof, ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.ports import StoreUnavailable
from gateway.core.refusal import Reason, Refused, Source
from gateway.stages.identify import Identification, OpaqueIssuer, Possession, identify, next_nonce
from gateway.stages.identify.binding import NO_PROOF, UNBOUND
from gateway.stages.identify.possession import NotConnected
from gateway.stages.identify.proof import MAX_AGE
from gateway.state.once import MemoryOnce

from .parts import CLOCK, HeldKeys, certificate, idp, issuer
from .proofs import (
    NONCES,
    NOW,
    URL,
    OnceInATest,
    accepting,
    bound_token,
    call,
    proof_for,
    proven_call,
    read_key,
    rules,
    signer,
)
from .test_gateway_keys import CURRENT, KEY, HeldGatewayKeys
from .test_opaque import Told, active

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.refusal import Refusal

TOKEN = bound_token()
HOLDER = signer("ES256", "holder")


async def refusal_of(request: Call, methods: Identification, now: float = NOW) -> Refusal:
    """Return why a request is refused; fails if it is not."""
    with pytest.raises(Refused) as refused:
        await identify(request, methods, now)
    return refused.value.refusal


async def test_an_owner_is_known() -> None:
    """The identity says how it was proven, and to which key it is bound."""
    identity = await identify(proven_call(TOKEN, proof_for(TOKEN)), accepting(), NOW)

    assert (("dpop", "jwt"), True, HOLDER.thumbprint, "key") == (
        identity.methods,
        identity.bound,
        identity.proof_key,
        identity.binding,
    )


@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP"])
async def test_the_scheme_is_case_insensitive(scheme: str) -> None:
    """RFC 9110, section 11.1."""
    identity = await identify(proven_call(TOKEN, proof_for(TOKEN), scheme=scheme), accepting(), NOW)

    assert HOLDER.thumbprint == identity.proof_key


async def test_every_request_needs_its_own_proof() -> None:
    """The token is verified once, the proof with every request: none is good twice."""
    keys = HeldKeys(signer())
    methods = Identification(
        [issuer(keys=keys)], possession=Possession(rules(), read_key, once=OnceInATest())
    )
    proof = proof_for(TOKEN)
    first = await identify(proven_call(TOKEN, proof), methods, NOW)
    second = await identify(proven_call(TOKEN, proof_for(TOKEN)), methods, NOW)

    assert first is second
    assert 1 == len(keys.lookups)
    assert Reason.PROOF_REPLAYED is (await refusal_of(proven_call(TOKEN, proof), methods)).reason
    assert Reason.PROOF_MISSING is (await refusal_of(proven_call(TOKEN, None), methods)).reason


async def test_a_proof_counts_as_used_for_as_long_as_it_could_be_used() -> None:
    """Until the slowest clock of the fleet finds it stale."""
    once = OnceInATest()
    methods = accepting(once, max_age=60.0, ahead=5.0)
    for at in (NOW - 60, NOW, NOW + 5):
        await identify(proven_call(TOKEN, proof_for(TOKEN, at=at)), methods, NOW)

    assert [5.0, 65.0, 70.0] == list(once.claims.values())
    assert max(once.claims.values()) <= MAX_AGE


async def test_a_refused_proof_is_not_used_up() -> None:
    """A client that forgot its nonce may try again; an attacker uses nothing up for its owner."""
    once = OnceInATest()
    methods = accepting(once, nonces=NONCES)

    assert Reason.PROOF_NONCE is (await refusal_of(proven_call(TOKEN, proof_for(TOKEN)), methods)).reason
    assert {} == once.claims


async def test_a_store_that_does_not_answer_refuses() -> None:
    """Nobody knows whether the proof was used before, so it is refused: the gateway's fault, try again."""
    once = OnceInATest()
    once.is_down = True
    refusal = await refusal_of(proven_call(TOKEN, proof_for(TOKEN)), accepting(once))

    assert (Reason.STORE_UNAVAILABLE, Source.GATEWAY) == (refusal.reason, refusal.source)


async def test_before_there_is_a_store_nobody_is_believed() -> None:
    """A gateway that was put together wrongly refuses."""
    methods = Identification([issuer()], possession=Possession(rules(), read_key))
    refusal = await refusal_of(proven_call(TOKEN, proof_for(TOKEN)), methods)

    assert Reason.STORE_UNAVAILABLE is refusal.reason
    with pytest.raises(StoreUnavailable):
        await NotConnected().claim(b"name", 1.0)


@pytest.mark.parametrize(
    ("request_", "note"),
    [
        (call(TOKEN), ""),
        (proven_call(TOKEN, None), ""),
        (proven_call(TOKEN, "a.b"), ""),
        (proven_call(TOKEN, proof_for(TOKEN, "thief")), "jwk is not the key that the token is bound to; "),
    ],
)
async def test_the_record_says_whose_token_was_shown(request_: Call, note: str) -> None:
    """By the digest under which its owner's records stand: whoever lost it can be told."""
    methods = accepting()
    owner = await identify(proven_call(TOKEN, proof_for(TOKEN)), methods, NOW)
    refusal = await refusal_of(request_, methods)

    assert f"{note}token {owner.token}" == refusal.note


async def test_the_store_that_was_given_is_asked() -> None:
    """Also while nothing is in it."""
    methods = Identification([issuer()], possession=Possession(rules(), read_key, once=MemoryOnce(CLOCK)))
    assert await identify(proven_call(TOKEN, proof_for(TOKEN)), methods, NOW)


async def test_a_bound_token_is_no_bearer_token() -> None:
    """RFC 9449, section 7.2: whatever was proven before, and with a proof beside it or not."""
    methods = accepting()
    await identify(proven_call(TOKEN, proof_for(TOKEN)), methods, NOW)

    assert NO_PROOF.detail == (await refusal_of(call(TOKEN), methods)).detail
    beside = await refusal_of(proven_call(TOKEN, proof_for(TOKEN), scheme="Bearer"), methods)
    assert Reason.CREDENTIAL_AMBIGUOUS is beside.reason


async def test_a_bearer_token_is_no_bound_token() -> None:
    """A proof that the token does not ask for proves nothing; what was proven as Bearer says nothing here."""
    methods = accepting()
    token = idp().mint()
    await identify(call(token), methods, NOW)

    assert UNBOUND.detail == (await refusal_of(proven_call(token, proof_for(token)), methods)).detail
    assert (await identify(call(token), methods, NOW)).proof_key is None


async def test_both_bindings_must_hold() -> None:
    """A token that names key and certificate needs the proof and the connection."""
    peer, other = certificate("f" * 43), certificate("g" * 43)
    token = bound_token(bind="f" * 43)
    methods = accepting()
    identity = await identify(proven_call(token, proof_for(token), peer), methods, NOW)

    assert ("both", ("dpop", "jwt", "mtls")) == (identity.binding, identity.methods)
    for stranger in (None, other):
        refusal = await refusal_of(proven_call(token, proof_for(token), stranger), methods)
        assert Reason.TOKEN_BINDING is refusal.reason
    assert Reason.PROOF_MISSING is (await refusal_of(proven_call(token, None, peer), methods)).reason
    assert NO_PROOF.detail == (await refusal_of(call(token, peer), methods)).detail


async def test_the_scheme_is_taken_only_where_it_is_configured() -> None:
    """Without origins there is nothing that a proof could be made for."""
    methods = Identification([issuer()])

    for proof in (proof_for(TOKEN), None):
        refusal = await refusal_of(proven_call(TOKEN, proof), methods)
        assert Reason.CREDENTIAL_SCHEME is refusal.reason


async def test_a_proof_alone_is_no_credential() -> None:
    """It says that somebody has a key, and not who."""
    request = call(headers={b"dpop": proof_for(TOKEN).encode()})

    assert Reason.CREDENTIAL_SCHEME is (await refusal_of(request, accepting())).reason


async def test_where_a_request_says_that_it_goes_decides_nothing() -> None:
    """`Host` and forwarded fields are the sender's: a proof for another origin stays one, ours stays ours."""
    evil = "https://evil.example/v1/chat/completions"
    relayed = {
        b"host": b"evil.example",
        b"x-forwarded-host": b"evil.example",
        b"x-forwarded-proto": b"https",
        b"forwarded": b"host=evil.example",
    }
    ours, theirs = (
        call(f"DPoP {TOKEN}".encode(), headers=relayed | {b"dpop": proof_for(TOKEN, url=url).encode()})
        for url in (URL, evil)
    )

    assert await identify(ours, accepting(), NOW)
    assert Reason.PROOF_MISMATCH is (await refusal_of(theirs, accepting())).reason


def opaque(answer: dict[str, object]) -> Identification:
    """A gateway whose issuer says this about a token that is no JWT."""
    told = OpaqueIssuer(issuer(), Told(answer))
    possession = Possession(rules(), read_key, once=OnceInATest())
    return Identification([told.issuer], opaque=[told], possession=possession)


async def test_opaque_tokens_are_bound_as_well() -> None:
    """What the issuer says of a token binds it, as a claim would (RFC 9449, section 6.2)."""
    token = "opaque-token"
    methods = opaque(active(token_type="DPoP", cnf={"jkt": HOLDER.thumbprint}))
    identity = await identify(proven_call(token, proof_for(token)), methods, NOW)
    again = await identify(proven_call(token, proof_for(token)), methods, NOW)

    assert identity is again
    assert (("dpop", "opaque"), "key", HOLDER.thumbprint) == (
        identity.methods,
        identity.binding,
        identity.proof_key,
    )
    for request, expected in (
        (proven_call(token, None), Reason.PROOF_MISSING),
        (proven_call(token, proof_for(token, "thief")), Reason.PROOF_KEY),
        (call(token), Reason.TOKEN_BINDING),
    ):
        assert expected is (await refusal_of(request, methods)).reason


@pytest.mark.parametrize("more", [{}, {"token_type": "DPoP"}, {"cnf": {"jkt": HOLDER.thumbprint}}])
async def test_an_opaque_token_is_bound_or_it_is_not(more: dict[str, object]) -> None:
    """Type and binding must both say so: under neither scheme is one of them enough."""
    methods = opaque(active(**more))

    assert (
        Reason.TOKEN_BINDING
        is (await refusal_of(proven_call("opaque-token", proof_for("opaque-token")), methods)).reason
    )
    if more:
        assert Reason.TOKEN_BINDING is (await refusal_of(call("opaque-token"), methods)).reason


async def test_a_gateway_key_is_bound_to_no_key() -> None:
    """Under the scheme DPoP it is refused, with a proof or without, and no issuer is asked about it."""
    told = Told(active(token_type="DPoP", cnf={"jkt": HOLDER.thumbprint}))
    methods = Identification(
        [issuer()],
        opaque=[OpaqueIssuer(issuer(), told)],
        keys=HeldGatewayKeys(KEY),
        possession=Possession(rules(), read_key, once=OnceInATest()),
    )
    token = CURRENT.decode()
    assert "key" in (await identify(call(token), methods, NOW)).methods

    for proof in (None, proof_for(token)):
        refusal = await refusal_of(proven_call(token, proof), methods)
        assert Reason.KEY_BINDING is refusal.reason
    assert [] == told.asked
    both = call(headers={b"x-api-key": CURRENT, b"dpop": proof_for(token).encode()})
    assert Reason.CREDENTIAL_SCHEME is (await refusal_of(both, methods)).reason


async def test_the_token_is_judged_first() -> None:
    """A good proof saves no bad token."""
    token = bound_token(expires_in=10)
    methods = accepting()
    late = await refusal_of(proven_call(token, proof_for(token, at=NOW + 100)), methods, NOW + 100)

    assert Reason.TOKEN_EXPIRED is late.reason


async def test_nonces_are_renewed_with_answers() -> None:
    """RFC 9449, section 8.2: who is answered gets the next nonce, where nonces are demanded at all."""
    methods = accepting(nonces=NONCES)
    nonce = NONCES.make(HOLDER.thumbprint, NOW)
    identity = await identify(proven_call(TOKEN, proof_for(TOKEN, nonce=nonce)), methods, NOW)
    field = next_nonce(identity, methods, NOW + 30)
    renewed = field.removeprefix(b"dpop-nonce: ").removesuffix(b"\r\n").decode()

    assert NONCES.make(HOLDER.thumbprint, NOW + 30) == renewed
    again = proof_for(TOKEN, nonce=renewed, at=NOW + 30)
    assert await identify(proven_call(TOKEN, again), methods, NOW + 30)
    assert b"" == next_nonce(identity, accepting(), NOW)
    assert b"" == next_nonce(identity, Identification(), NOW)
    unbound = await identify(call(idp().mint()), methods, NOW)
    assert b"" == next_nonce(unbound, methods, NOW)


PEERS = {"none": None, "f": certificate("f" * 43), "g": certificate("g" * 43)}
TOKENS = {
    "bearer": idp().mint(),
    "key": TOKEN,
    "certificate": idp().mint(bind="f" * 43),
    "both": bound_token(bind="f" * 43),
    "somebody": bound_token("somebody"),
}
ATTEMPTS = st.tuples(
    st.sampled_from(sorted(TOKENS)),
    st.sampled_from(["Bearer", "bearer", "DPoP"]),
    st.sampled_from(["none", "fresh", "old", "stolen", "used"]),
    st.sampled_from(sorted(PEERS)),
)


def is_owner(token: str, scheme: str, proof: str, peer: str) -> bool:
    """What must be accepted, in the words of the RFCs."""
    needs_key = token in {"key", "both"}
    needs_certificate = token in {"certificate", "both"}
    if token == "somebody":
        return False
    shows = scheme == "DPoP" and proof == "fresh"
    return (shows if needs_key else scheme != "DPoP" and proof == "none") and (
        peer == "f" or not needs_certificate
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(ATTEMPTS, min_size=1, max_size=8))
async def test_no_order_of_attempts_unbinds_a_token(attempts: list[tuple[str, str, str, str]]) -> None:
    """Every token, under every scheme, on every connection, in any order: accepted as its owner or not at all."""
    methods = accepting()
    used = {name: proof_for(token, claims={"jti": f"used-{name}"}) for name, token in TOKENS.items()}
    for name in ("key", "both"):
        await identify(proven_call(TOKENS[name], used[name], PEERS["f"]), methods, NOW)
    for name, scheme, kind, peer in attempts:
        token = TOKENS[name]
        proof = {
            "none": lambda _: None,
            "fresh": proof_for,
            "old": lambda token: proof_for(token, at=NOW - 3600),
            "stolen": lambda token: proof_for(token, "thief"),
            "used": lambda _, name=name: used[name],
        }[kind](token)
        request = proven_call(token, proof, PEERS[peer], scheme=scheme)
        if is_owner(name, scheme, kind, peer):
            identity = await identify(request, methods, NOW)
            assert (identity.proof_key is not None) == (name in {"key", "both"})
            assert identity.binding == {"bearer": "none"}.get(name, name)
        else:
            await refusal_of(request, methods)
    remembered = [*methods.tokens._young.values(), *methods.tokens._old.values()]
    assert [] == [proven for proven in remembered if proven.identity.proof_key is not None]
