"""`receiver`: which security event tokens are taken, and what each of them does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ports import StoreUnavailable
from gateway.core.refusal import Reason, Refused
from gateway.core.revocation import Target
from gateway.shared_signals.receiver import Rejected
from gateway.stages.identify import Identification, identify
from tests.unit.stages.identify.parts import ISSUER, NOW, call, idp, issuer, signer

from .parts import ALICE, AUDIENCE, CAEP, MEMORY, OTHER, RISC, SSF, TRANSMITTER, World, claims, signed

if TYPE_CHECKING:
    from collections.abc import Mapping

HAPPENED = int(NOW) - 40


async def test_a_revoked_session_voids_what_was_issued_before() -> None:
    """CAEP 1.0, section 3.1: since the event's time; whoever authenticates anew is let in."""
    world = World()
    name = await world.receiver.take(signed(claims(event={"event_timestamp": HAPPENED})))
    [one] = world.sink.held.values()

    assert "event-1" == name
    assert (Target.SUBJECT, f"{ISSUER}|alice") == (one.target, one.value)
    assert (HAPPENED, HAPPENED, HAPPENED + MEMORY) == (one.at, one.issued_before, one.expires)
    assert ("session-revoked", TRANSMITTER) == (one.reason, one.source)
    assert 1 == world.receiver.taken


@pytest.mark.parametrize(
    ("kind", "event", "effect"),
    [
        (CAEP + "session-revoked", {}, "reauthenticate"),
        (
            CAEP + "credential-change",
            {"credential_type": "password", "change_type": "create"},
            "reauthenticate",
        ),
        (
            CAEP + "credential-change",
            {"credential_type": "fido2-platform", "change_type": "revoke"},
            "reauthenticate",
        ),
        (CAEP + "credential-change", {"credential_type": "x509", "change_type": "update"}, "reauthenticate"),
        (CAEP + "token-claims-change", {"claims": {"role": "guest"}}, "reauthenticate"),
        (CAEP + "assurance-level-change", {"change_direction": "decrease"}, "reauthenticate"),
        (CAEP + "assurance-level-change", {}, "reauthenticate"),
        (CAEP + "assurance-level-change", {"change_direction": "increase"}, None),
        (CAEP + "device-compliance-change", {"current_status": "not-compliant"}, "reauthenticate"),
        (CAEP + "device-compliance-change", {"current_status": "compliant"}, None),
        (CAEP + "risk-level-change", {"current_level": "HIGH"}, "reauthenticate"),
        (CAEP + "risk-level-change", {"current_level": "odd"}, "reauthenticate"),
        (CAEP + "risk-level-change", {"current_level": ["LOW"]}, "reauthenticate"),
        (CAEP + "risk-level-change", {"current_level": "LOW"}, None),
        (RISC + "account-disabled", {"reason": "hijacking"}, "lock"),
        (RISC + "account-purged", {}, "lock"),
        (RISC + "credential-compromise", {"credential_type": "password"}, "reauthenticate"),
        (RISC + "recovery-activated", {}, None),
        ("https://example.org/of-somebody-else", {}, None),
    ],
)
async def test_every_kind_of_event(kind: str, event: Mapping[str, object], effect: str | None) -> None:
    """What got worse voids or locks; what got better, or is not known, changes nothing."""
    world = World()
    await world.receiver.take(signed(claims(kind, event)))
    held = list(world.sink.held.values())

    assert (1 if effect else 0) == len(held)
    assert [effect == "reauthenticate"] * len(held) == [one.issued_before is not None for one in held]
    assert [effect == "lock"] * len(held) == [one.expires is None for one in held]


async def test_an_enabled_account_is_unlocked_by_who_locked_it() -> None:
    """RISC 1.0: a lock ends by the same transmitter; an older message does not end a younger lock."""
    world = World()
    locked = claims(RISC + "account-disabled", {"event_timestamp": HAPPENED})
    await world.receiver.take(signed(locked))
    await world.receiver.take(signed(claims(RISC + "account-enabled", {"event_timestamp": HAPPENED - 1})))
    assert 1 == len(world.sink.held)
    await world.receiver.take(signed(claims(RISC + "account-enabled", {"event_timestamp": HAPPENED + 1})))

    assert {} == world.sink.held


async def test_the_same_event_twice_does_the_same_once() -> None:
    """A replayed token adds nothing: revocations are named by the event that made them."""
    world = World()
    token = signed(claims())
    for _ in range(3):
        await world.receiver.take(token)

    assert 1 == len(world.sink.held)


async def test_nobody_is_locked_out_of_the_future() -> None:
    """An event that says it happens tomorrow happened now, at the latest."""
    world = World()
    await world.receiver.take(signed(claims(event={"event_timestamp": int(NOW) + 86_400})))
    await world.receiver.take(signed(claims(jti="event-2", toe=int(NOW) + 86_400)))

    assert {NOW} == {one.issued_before for one in world.sink.held.values()}


async def test_what_must_be_durable_is_not_acknowledged_before() -> None:
    """While the store is away the transmitter is told to come again."""
    world = World()
    world.sink.is_away = True
    with pytest.raises(StoreUnavailable):
        await world.receiver.take(signed(claims()))

    assert 0 == world.receiver.taken


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (b"", "invalid_request"),
        (b"a.b", "invalid_request"),
        (b"x" * 9000, "invalid_request"),
        (signed(claims()) + b"=", "invalid_request"),
        (signed(b"[]"), "invalid_request"),
        (signed(b'{"iss":"a","iss":"b"}'), "invalid_request"),
        (signed(claims(), typ="at+jwt"), "invalid_request"),
        (signed(claims(), typ="JWT"), "invalid_request"),
        (signed(claims(), typ=None), "invalid_request"),
        (signed(claims(), crit=["b64"]), "invalid_request"),
        (signed(claims(iss="https://evil.example.org")), "invalid_issuer"),
        (signed(claims(iss=None)), "invalid_issuer"),
        (signed(claims(), alg="none"), "invalid_key"),
        (signed(claims(), alg="HS256"), "invalid_key"),
        (signed(claims(), alg="RS256"), "invalid_key"),
        (signed(claims(), alg=None), "invalid_key"),
        (signed(claims(), kid="unknown"), "invalid_key"),
        (signed(claims(), kid=7), "invalid_key"),
        (signed(claims(), kid=["a"]), "invalid_key"),
        (signed(claims(), alg=["ES256"]), "invalid_key"),
        (b"e30x." + signed(claims()).partition(b".")[2], "invalid_request"),
        (signed(claims(iat=-1)), "invalid_request"),
        (signed(claims(jti="j" * 513)), "invalid_request"),
        (signed(claims())[:-8] + b"AAAAAAAA", "invalid_key"),
        (signed(claims(aud="https://another.example.org")), "invalid_audience"),
        (signed(claims(aud=None)), "invalid_audience"),
        (signed(claims(exp=int(NOW) + 60)), "invalid_request"),
        (signed(claims(sub="alice")), "invalid_request"),
        (signed(claims(iat=None)), "invalid_request"),
        (signed(claims(iat=str(int(NOW)))), "invalid_request"),
        (signed(claims(iat=True)), "invalid_request"),
        (signed(claims(iat=int(NOW) + 61)), "invalid_request"),
        (signed(claims(jti=None)), "invalid_request"),
        (signed(claims(jti="")), "invalid_request"),
        (signed(claims(jti="a\nb")), "invalid_request"),
        (signed(claims(events=None)), "invalid_request"),
        (signed(claims(events={})), "invalid_request"),
        (signed(claims(events={CAEP + "session-revoked": []})), "invalid_request"),
        (signed(claims(events={f"e{number}": {} for number in range(9)})), "invalid_request"),
    ],
)
async def test_what_is_not_genuine_changes_nothing(token: bytes, code: str) -> None:
    """RFC 8417, RFC 8935: each fault has its code, and no revocation is made."""
    world = World()
    with pytest.raises(Rejected) as rejected:
        await world.receiver.take(token)

    assert code == rejected.value.code
    assert {} == world.sink.held
    assert 0 == world.receiver.taken


async def test_an_audience_may_be_one_of_several() -> None:
    """SSF 1.0, section 4.1: an event may be for several receivers; a lock is no credential."""
    world = World()

    assert "event-1" == await world.receiver.take(signed(claims(aud=["https://other.example.org", AUDIENCE])))


async def test_a_security_event_is_no_access_token() -> None:
    """The two exclude each other: what revokes never lets in, what lets in never revokes."""
    world = World()
    event = signed(claims(iss=ISSUER, aud="model-gateway"))
    with pytest.raises(Refused) as refused:
        await identify(call(event.decode()), Identification([issuer()]), NOW)
    assert Reason.TOKEN_TYPE is refused.value.refusal.reason

    with pytest.raises(Rejected):
        await world.receiver.take(idp().mint().encode())


async def test_what_concerns_nobody_here_is_said() -> None:
    """A subject of another issuer is acknowledged, and named as unmatched in the log; so is a sign of life."""
    world = World()
    stranger = {"format": "iss_sub", "iss": "https://stranger.example.org", "sub": "alice"}
    await world.receiver.take(signed(claims(sub_id=stranger)))
    await world.receiver.take(signed(claims(SSF + "verification", {"state": "x"}, sub_id=None)))

    assert {} == world.sink.held
    assert ["signal-unmatched", "signal-verification"] == [event for event, _ in world.said]


async def test_drafts_put_the_subject_into_the_event() -> None:
    """CAEP before 1.0."""
    world = World()
    await world.receiver.take(signed(claims(event={"subject": ALICE}, sub_id=None)))

    assert [f"{ISSUER}|alice"] == [one.value for one in world.sink.held.values()]


async def test_one_address_is_one_claim_of_each_issuer() -> None:
    """An e-mail address names the users of every issuer that the transmitter speaks for."""
    world = World()
    await world.receiver.take(signed(claims(sub_id={"format": "email", "email": "Alice@Example.org"})))

    assert {(Target.CLAIM, f"{name}|email|alice@example.org") for name in (ISSUER, OTHER)} == {
        (one.target, one.value) for one in world.sink.held.values()
    }


@given(
    st.binary(max_size=200) | st.from_regex(rb"[A-Za-z0-9_-]{1,40}(\.[A-Za-z0-9_-]{1,40}){2}", fullmatch=True)
)
async def test_garbage_is_rejected_and_nothing_else(token: bytes) -> None:
    """Whatever arrives is taken, or rejected with a code; no other exception exists."""
    with pytest.raises(Rejected):
        await World().receiver.take(token)


async def test_algorithms_of_the_transmitter_alone_count() -> None:
    """Whatever other keys its set has; a token without a key id is of its one key."""
    world = World()
    edwards = signer("EdDSA")
    world.keys.replace(signer(), edwards)
    with pytest.raises(Rejected, match="invalid_key"):
        await world.receiver.take(
            edwards.sign(claims(), {"typ": "secevent+jwt", "alg": "EdDSA", "kid": edwards.kid})
        )

    assert "event-1" == await world.receiver.take(signed(claims(), kid=None))


@pytest.mark.parametrize("moment", [-1, 253_402_300_800, 10**30, True, "1", None])
async def test_an_event_without_a_date_happened_when_it_was_said(moment: object) -> None:
    """What is no date dates nothing: neither far in the past, where it would void nobody, nor ahead."""
    world = World()
    await world.receiver.take(signed(claims(event={"event_timestamp": moment})))
    [one] = world.sink.held.values()

    assert (NOW, NOW) == (one.at, one.issued_before)


@pytest.mark.parametrize(
    "kind", ["session", "https://example.org/a", CAEP + "a b", CAEP + "\u00e9", CAEP + "a\nb"]
)
async def test_an_event_that_nobody_knows_has_no_name(kind: str) -> None:
    """Nothing of it is written into the log."""
    world = World()
    await world.receiver.take(signed(claims(kind)))

    assert [("signal-none", {"transmitter": TRANSMITTER, "kind": "unknown"})] == world.said


async def test_keys_of_the_transmitter_alone_count() -> None:
    """A token signed with a key of an issuer of access tokens is no event."""
    world = World()
    other = signer("ES256", "second")
    with pytest.raises(Rejected, match="invalid_key"):
        await world.receiver.take(
            other.sign(claims(), {"typ": "secevent+jwt", "alg": "ES256", "kid": other.kid})
        )
