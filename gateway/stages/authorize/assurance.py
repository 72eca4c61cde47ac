"""Whether a caller is authenticated as strongly and as recently as a route demands (RFC 9470).

Asked after the credentials were verified, and only for callers whom a rule could allow: who may not knock
learns nothing of what it takes. A claim that is missing, or no number, meets nothing. Never looks at a
password, a factor or a session: what the issuer signed (`acr`, `amr`, `auth_time`) and what the connection
proves is all.

For machines there is no second factor but a second proof: a certificate beside a token bound to a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.identity import TWO_PROOFS
from gateway.core.refusal import Reason, Refusal, StepUp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.identity import Identity
    from gateway.stages.authorize.challenged import Caller, Challenged

TWO: Final = 2
MAX_AHEAD: Final = 60.0  # seconds that an issuer's clock may be ahead: later is no time of an authentication

UNBOUND: Final = Refusal(
    Reason.TOKEN_UNBOUND,
    "This route requires two proofs: beside the client certificate an access token that is bound to a key.",
)
NO_CERTIFICATE: Final = Refusal(
    Reason.PROOFS_MISSING,
    "This route requires two proofs: a client certificate, and an access token that is bound to a key.",
)
AGAIN: Final = "A token that was issued after the challenge does not meet what this route requires either."


@final
class RequiredAuthentication:
    """What one route demands (`core.ports.Assurance`). All parts must be met.

    Args:
        acr: Authentication context classes of which one is needed, most wanted first; none: any.
            `TWO_PROOFS` is met by two proofs, whatever the token says.
        amr: Authentication methods that must all have been used (RFC 8176).
        max_age: Seconds since the user authenticated at most, or None.
        proofs: How many independent proofs the request must carry: 1 or 2.
        challenged: Whom this process has challenged lately.
    """

    __slots__ = (
        "_amr",
        "_challenged",
        "_classes",
        "_demand",
        "_detail",
        "_max_age",
        "_needs_two",
        "_step_up",
        "_two_meet_acr",
    )

    def __init__(
        self,
        *,
        acr: Iterable[str] = (),
        amr: Iterable[str] = (),
        max_age: float | None = None,
        proofs: int = 1,
        challenged: Challenged,
    ) -> None:
        wanted = tuple(acr)
        values = tuple(value for value in wanted if value != TWO_PROOFS)
        methods = tuple(amr)
        self._classes = frozenset(values)
        self._two_meet_acr = TWO_PROOFS in wanted
        self._needs_two = proofs >= TWO or (self._two_meet_acr and not values)
        self._amr = frozenset(methods)
        self._max_age = max_age
        self._step_up = StepUp(values, None if max_age is None else int(max_age))
        self._demand = (values, methods, max_age)
        self._detail = _sentence(values, methods, self._step_up.max_age)
        self._challenged = challenged

    def __call__(self, identity: Identity, now: float, /) -> Refusal | None:
        """Return None if the caller is authenticated well enough, or why not. See `core.ports.Assurance`."""
        has_two = identity.proofs >= TWO
        if self._needs_two and not has_two:
            # with a certificate a new token helps, without one no token alone does
            return NO_CERTIFICATE if identity.certificate is None else UNBOUND
        challenged = self._challenged
        lack = self._lack(identity, has_two=has_two)
        since = None
        if lack is None and self._max_age is not None:
            since = identity.auth_time
            if since is None:
                lack = "auth_time is missing"
            elif not now - since >= -MAX_AHEAD:
                lack, since = "auth_time is in the future", None
            elif not now - since <= self._max_age:
                lack = "auth_time is too long ago"
        if lack is None:
            if challenged:
                challenged.meet(self._caller(identity))
            return None
        if challenged.challenge(
            self._caller(identity), identity.token, identity.issued, now, authenticated=since
        ):
            return Refusal(Reason.STEP_UP_REQUIRED, self._detail, note=lack, step_up=self._step_up)
        return Refusal(Reason.STEP_UP_FAILED, AGAIN, note=lack)

    def _lack(self, identity: Identity, *, has_two: bool) -> str | None:
        """Return what is lacking apart from age, for the record."""
        is_met = identity.acr in self._classes or (self._two_meet_acr and has_two)
        if self._classes and not is_met:
            return "acr is none of those required" if identity.acr else "acr is missing"
        if not self._amr.issubset(identity.amr):
            return "amr lacks a method that is required"
        return None

    def _caller(self, identity: Identity) -> Caller:
        """Name a caller under this requirement: one user's other clients are asked on their own."""
        return (identity.key, identity.client_id, self._demand)


def _sentence(classes: tuple[str, ...], methods: tuple[str, ...], max_age: int | None) -> str:
    parts: list[str] = []
    if classes:
        parts.append(f"of class {' or '.join(classes)}")
    if methods:
        parts.append(f"with {' and '.join(methods)}")
    if max_age is not None:
        parts.append(f"at most {max_age} seconds ago")
    return f"This route requires an authentication {', '.join(parts)}."
