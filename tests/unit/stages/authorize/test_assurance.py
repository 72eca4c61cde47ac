"""How well a caller must be authenticated: every part alone, every combination, and the loop's end."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.core.identity import TWO_PROOFS, Identity
from gateway.core.refusal import Reason, Refusal, StepUp
from gateway.stages.authorize.assurance import MAX_AHEAD, RequiredAuthentication
from gateway.stages.authorize.challenged import Challenged

from .material import NOW, an_identity

STRONG, STRONGER = "urn:example:acr:mfa", "urn:example:acr:phr"
NAN, INFINITY = float("nan"), float("inf")


def require(**demands: object) -> RequiredAuthentication:
    """Make a requirement with a memory of its own."""
    return RequiredAuthentication(challenged=Challenged(), **demands)  # type: ignore[arg-type]


def reason(refusal: Refusal | None) -> Reason | None:
    """Return why, or None."""
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("demands", "claims", "is_met"),
    [
        ({"acr": [STRONG]}, {"acr": STRONG}, True),
        ({"acr": [STRONGER, STRONG]}, {"acr": STRONG}, True),
        ({"acr": [STRONG]}, {"acr": STRONGER}, False),
        ({"acr": [STRONG]}, {"acr": STRONG.upper()}, False),
        ({"acr": [STRONG]}, {"acr": f"{STRONG} {STRONGER}"}, False),
        ({"acr": [STRONG]}, {"acr": None}, False),
        ({"acr": [STRONG]}, {"amr": ("mfa",), "auth_time": NOW}, False),
        ({"amr": ["mfa"]}, {"amr": ("mfa",)}, True),
        ({"amr": ["mfa", "hwk"]}, {"amr": ("pwd", "hwk", "mfa")}, True),
        ({"amr": ["mfa", "hwk"]}, {"amr": ("mfa",)}, False),
        ({"amr": ["mfa"]}, {"amr": ()}, False),
        ({"amr": ["mfa"]}, {"amr": ("mfa hwk",)}, False),
        ({"max_age": 300.0}, {"auth_time": NOW}, True),
        ({"max_age": 300.0}, {"auth_time": NOW - 300.0}, True),
        ({"max_age": 300.0}, {"auth_time": NOW - 300.5}, False),
        ({"max_age": 300.0}, {"auth_time": NOW + MAX_AHEAD}, True),
        ({"max_age": 300.0}, {"auth_time": NOW + MAX_AHEAD + 1.0}, False),
        ({"max_age": 300.0}, {"auth_time": INFINITY}, False),
        ({"max_age": 300.0}, {"auth_time": NAN}, False),
        ({"max_age": 300.0}, {"auth_time": 0.0}, False),
        ({"max_age": 300.0}, {"auth_time": None, "issued": NOW}, False),
    ],
)
def test_one_demand(demands: dict[str, object], claims: dict[str, object], is_met: bool) -> None:
    """A claim that is missing, of another value, or no number, meets nothing."""
    refusal = require(**demands)(an_identity(**claims), NOW)

    assert (None if is_met else Reason.STEP_UP_REQUIRED) is reason(refusal)


@pytest.mark.parametrize(("acr", "amr", "age"), list(product((True, False), repeat=3)))
def test_all_demands_must_be_met(acr: bool, amr: bool, age: bool) -> None:
    """Two of three are not enough; the challenge asks for everything, whatever it was that lacked."""
    identity = an_identity(
        acr=STRONG if acr else "low",
        amr=("mfa",) if amr else ("pwd",),
        auth_time=NOW - (10.0 if age else 1000.0),
    )
    refusal = require(acr=[STRONGER, STRONG], amr=["mfa"], max_age=300.9)(identity, NOW)

    assert (acr and amr and age) == (refusal is None)
    if refusal is not None:
        assert StepUp((STRONGER, STRONG), 300) == refusal.step_up
        assert refusal.detail == (
            f"This route requires an authentication of class {STRONGER} or {STRONG}, with mfa, "
            "at most 300 seconds ago."
        )


MACHINES = [
    ({}, {}, Reason.PROOFS_MISSING),
    ({"bound": True}, {}, Reason.PROOFS_MISSING),
    ({"certificate": "F"}, {}, Reason.TOKEN_UNBOUND),
    ({"certificate": "F", "bound": True}, {}, None),
]


@pytest.mark.parametrize(("shown", "claims", "expected"), MACHINES)
@pytest.mark.parametrize(
    "demands", [{"proofs": 2}, {"acr": [TWO_PROOFS]}, {"proofs": 2, "acr": [TWO_PROOFS]}]
)
def test_two_proofs_are_a_certificate_and_a_bound_token(
    shown: dict[str, object], claims: dict[str, object], expected: Reason | None, demands: dict[str, object]
) -> None:
    """Without a certificate no new token helps (403); with one, a bound token does (401)."""
    assert expected is reason(require(**demands)(an_identity(**shown, **claims), NOW))


def test_no_claim_stands_for_two_proofs() -> None:
    """The class is the gateway's own: an issuer that signs it proves nothing about this connection."""
    liar = an_identity(acr=TWO_PROOFS)

    assert Reason.PROOFS_MISSING is reason(require(acr=[TWO_PROOFS])(liar, NOW))
    assert Reason.STEP_UP_REQUIRED is reason(require(acr=[STRONG, TWO_PROOFS])(liar, NOW))


@pytest.mark.parametrize(
    ("identity", "is_met"),
    [
        (an_identity(acr=STRONG), True),
        (an_identity(acr="low", certificate="F", bound=True), True),
        (an_identity(acr="low", certificate="F"), False),
        (an_identity(acr="low", bound=True), False),
    ],
)
def test_a_person_s_class_or_a_machine_s_proofs(identity: Identity, is_met: bool) -> None:
    """Where both are named either is enough; a challenge names only what an issuer can give."""
    refusal = require(acr=[TWO_PROOFS, STRONG])(identity, NOW)

    assert is_met == (refusal is None)
    if refusal is not None:
        assert StepUp((STRONG,)) == refusal.step_up
        assert TWO_PROOFS not in refusal.detail


def test_two_proofs_excuse_from_no_other_demand() -> None:
    """They stand for a class, not for a recent authentication."""
    machine = an_identity(certificate="F", bound=True)

    for demands in ({"max_age": 300.0}, {"amr": ["mfa"]}, {"acr": [STRONG]}):
        assert Reason.STEP_UP_REQUIRED is reason(require(proofs=2, **demands)(machine, NOW))


def test_the_record_says_what_lacked_and_the_client_what_to_do() -> None:
    """The note is for operators; the detail is the same sentence whatever lacked."""
    demand = {"acr": [STRONG], "amr": ["mfa"], "max_age": 60.0}
    identities = [
        an_identity(),
        an_identity(acr="low"),
        an_identity(acr=STRONG),
        an_identity(acr=STRONG, amr=("mfa",)),
        an_identity(acr=STRONG, amr=("mfa",), auth_time=NOW - 61),
        an_identity(acr=STRONG, amr=("mfa",), auth_time=NOW + 61),
    ]
    refusals = [require(**demand)(identity, NOW) for identity in identities]

    assert 1 == len({refusal.detail for refusal in refusals if refusal})
    assert [
        "acr is missing",
        "acr is none of those required",
        "amr lacks a method that is required",
        "auth_time is missing",
        "auth_time is too long ago",
        "auth_time is in the future",
    ] == [refusal.note for refusal in refusals if refusal]


def test_a_weak_token_after_the_challenge_is_refused_for_good() -> None:
    """401 for what the client had, 403 for what its issuer gave it since, nothing for the right one."""
    assurance = require(acr=[STRONG])
    old = an_identity(acr="low", token="old", issued=NOW - 60)
    new = an_identity(acr="low", token="new", issued=NOW + 5)
    right = an_identity(acr=STRONG, token="right", issued=NOW + 8)

    assert Reason.STEP_UP_REQUIRED is reason(assurance(old, NOW))
    assert Reason.STEP_UP_REQUIRED is reason(assurance(old, NOW + 1))
    assert Reason.STEP_UP_FAILED is reason(assurance(new, NOW + 6))
    assert Reason.STEP_UP_REQUIRED is reason(assurance(old, NOW + 7))
    assert assurance(right, NOW + 9) is None
    assert Reason.STEP_UP_REQUIRED is reason(assurance(new, NOW + 10))


def test_a_token_that_has_grown_old_is_challenged_again() -> None:
    """It met the challenge; that was too long ago, which is no fault of its issuer."""
    assurance = require(max_age=120.0)
    old = an_identity(token="old", issued=NOW - 60, auth_time=NOW - 600)
    fresh = an_identity(token="fresh", issued=NOW + 30, auth_time=NOW + 30)
    renewed = an_identity(token="renewed", issued=NOW + 160, auth_time=NOW + 30)

    assert Reason.STEP_UP_REQUIRED is reason(assurance(old, NOW))
    assert Reason.STEP_UP_REQUIRED is reason(assurance(fresh, NOW + 155))
    assert Reason.STEP_UP_FAILED is reason(assurance(renewed, NOW + 161))


def test_an_issuer_whose_times_are_in_the_future_ends_the_loop_too() -> None:
    """Such a time is no answer: the second one is the issuer's last word."""
    assurance = require(max_age=120.0)

    assert Reason.STEP_UP_REQUIRED is reason(
        assurance(an_identity(token="a", issued=NOW, auth_time=NOW + 1e6), NOW)
    )
    assert Reason.STEP_UP_FAILED is reason(
        assurance(an_identity(token="b", issued=NOW + 1, auth_time=NOW + 1e6), NOW + 2)
    )


def test_routes_with_the_same_demand_share_their_memory() -> None:
    """The same demand on another route is the same challenge; another demand is another."""
    challenged = Challenged()
    first, second = (RequiredAuthentication(acr=[STRONG], challenged=challenged) for _ in range(2))
    other = RequiredAuthentication(acr=[STRONGER], challenged=challenged)
    old = an_identity(acr="low", token="old", issued=NOW - 60)
    new = an_identity(acr="low", token="new", issued=NOW + 5)

    assert Reason.STEP_UP_REQUIRED is reason(first(old, NOW))
    assert Reason.STEP_UP_FAILED is reason(second(new, NOW + 6))
    assert Reason.STEP_UP_REQUIRED is reason(other(new, NOW + 6))
