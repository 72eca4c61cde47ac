"""Proofs are issued by their stages, and by nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.limits import Ledger
from gateway.core.permit import (
    Admission,
    Entry,
    Permit,
    Reservation,
    Vetted,
    issue_admission,
    issue_entry,
    issue_permit,
    issue_vetted,
)
from gateway.core.prompt import Prompt
from gateway.stages.reserve import NOTHING
from tests.doubles.line import Line
from tests.unit.stages.authorize.material import an_identity

if TYPE_CHECKING:
    from collections.abc import Callable

ROUTE = Line().route
IDENTITY = an_identity("user")
ENTRY = issue_entry(IDENTITY, ROUTE)
PROMPT = Prompt("tiny")


@pytest.mark.parametrize(
    "forge",
    [
        lambda seal: Entry(seal, IDENTITY, ROUTE),
        lambda seal: Admission(seal, ENTRY, Ledger()),
        lambda seal: Vetted(seal, ENTRY, PROMPT, b"", b""),
        lambda seal: Permit(seal, IDENTITY, ROUTE, None, "rule"),
        lambda seal: Reservation(
            seal, issue_admission(ENTRY, Ledger()), issue_permit(ENTRY, None, ""), (), NOTHING
        ),
    ],
    ids=["entry", "admission", "vetted", "permit", "reservation"],
)
@pytest.mark.parametrize(
    "seal", [None, object(), True, 1, "seal"], ids=["none", "object", "true", "one", "text"]
)
def test_a_proof_is_never_constructed(forge: Callable[[Any], object], seal: object) -> None:
    """Without the seal there is no proof, whatever stands in its place."""
    with pytest.raises(TypeError, match="issued by its stage"):
        forge(seal)


def test_what_a_proof_says() -> None:
    """Each holds exactly what it was issued for."""
    ledger = Ledger()
    admission = issue_admission(ENTRY, ledger)
    vetted = issue_vetted(ENTRY, PROMPT, b"body", b"text/plain")
    permit = issue_permit(ENTRY, "tiny", "rule")

    assert (IDENTITY, ROUTE) == (ENTRY.identity, ENTRY.route)
    assert (ENTRY, ledger) == (admission.entry, admission.ledger)
    assert (ENTRY, PROMPT, b"body", b"text/plain") == (
        vetted.entry,
        vetted.prompt,
        vetted.body,
        vetted.content_type,
    )
    assert (IDENTITY, ROUTE, "tiny", "rule") == (permit.identity, permit.route, permit.model, permit.rule)


@pytest.mark.parametrize("proof", [ENTRY, issue_permit(ENTRY, None, "rule")], ids=["entry", "permit"])
def test_a_proof_takes_no_notes(proof: object) -> None:
    """Nothing is hung on a proof: it has its slots and no more."""
    with pytest.raises(AttributeError):
        proof.note = "approved"  # type: ignore[attr-defined]  # what must not work
