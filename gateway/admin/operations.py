"""What operators may do: revoke, lift, and see who runs. Part of the admin listener.

What could not mean anybody is refused: a revocation that hits nobody is worse than none, for its maker
believes in it.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import asdict
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Final, Protocol, final

import msgspec

from gateway.admin.calls import answer, caller, is_browser, problem, read
from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import DATED, Revocation, Target, check
from gateway.core.revoking import RevocationsFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiohttp import web

    from gateway.core.exchange import Exchange
    from gateway.core.ports import Clock

MAX_BODY: Final = 16 * 1024
MOST: Final = 1000  # entries of one answer
CLAIM_SHAPE: Final = "issuer|claim|value, the value in lower case"
NAMED: Final = r"[^|]+\|.+|spiffe://.+|[^|=]+=.+|([A-Za-z0-9*_-]+\.)+[A-Za-z0-9-]+"
"""What `Identity.key` can be: any other value would be taken, and hit nobody."""
NAMES: Final = (
    "issuer|sub, key|SUBJECT, anonymous|ADDRESS, a SPIFFE ID or a certificate's name; "
    "`gateway audit show` has it"
)
SHAPES: Final = {
    Target.SUBJECT: (NAMED, NAMES),
    Target.TOKEN: (
        r"[^|]+\|.+|[0-9a-f]{16}",
        "issuer|jti, or the first 16 hex digits of the token's SHA-256",
    ),
    Target.CLIENT: (r"[^|]+\|.+", "issuer|client_id"),
    Target.CLAIM: (r"[^|]+\|[^|]+\|.+", CLAIM_SHAPE),
    Target.SESSION: (r"[^|]+\|.+", "issuer|sid"),
    Target.CERTIFICATE: (r"[A-Za-z0-9_-]{43}", "the certificate's SHA-256 in base64url, 43 characters"),
}
MEMBERS: Final = (
    "Members are target (subject, token, client, key, certificate, session, claim, identity), value, "
    "and if wanted reason, expires, and one of issued_before and lock; times are seconds since 1970."
)


class Operations(Protocol):
    """What stands behind this API."""

    async def revoke(self, revocations: Sequence[Revocation], by: str) -> tuple[int, bool]:
        """Make revocations hold; returns how many running exchanges end, and whether all is safe."""

    async def release(self, id: str, by: str) -> Revocation | None:
        """End a revocation; returns it, or None if there is none."""

    def held(self) -> Iterable[Revocation]:
        """Return what is revoked."""

    def state(self) -> Mapping[str, object]:
        """Return how much is known, and how fresh it is."""

    def running(self) -> Sequence[Exchange]:
        """Return the exchanges that run and whose identity is known."""


@final
class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/revocations`. Times are seconds since the epoch."""

    target: Target
    value: str
    reason: str = ""
    expires: float | None = None
    issued_before: float | None = None
    lock: bool = False


def add_operations(app: web.Application, operations: Operations, clock: Clock, *, has_token: bool) -> None:
    """Add the paths of this API.

    Args:
        app: The application of the admin listener; its guard asks for the token.
        operations: What stands behind it.
        clock: Time.
        has_token: Whether the guard asks for one: otherwise nobody proves who calls.
    """
    api = _Api(operations, clock, has_token=has_token)
    app.router.add_post("/v1/revocations", api.revoke)
    app.router.add_get("/v1/revocations", api.held)
    app.router.add_delete("/v1/revocations/{id}", api.lift)
    app.router.add_get("/v1/running", api.running)


@final
class _Api:
    """The handlers."""

    def __init__(self, operations: Operations, clock: Clock, *, has_token: bool) -> None:
        self._operations = operations
        self._clock = clock
        self._has_token = has_token

    async def revoke(self, request: web.Request) -> web.Response:
        """Make one revocation hold: 201 if it is safe everywhere, 202 if it holds here for the moment."""
        wanted = await read(request, Wanted, MEMBERS)
        if isinstance(wanted, str):
            return problem(400, "This is no revocation", wanted)
        revocation = _revocation(wanted, self._clock.wall())
        if isinstance(revocation, str):
            return problem(400, "This revocation would not do what it says", revocation)
        try:
            cut, is_stored = await self._operations.revoke((revocation,), self._caller(request))
        except RevocationsFull:
            return problem(507, "No room", "As many revocations are held as may be: lift some.")
        made = {"id": revocation.id, "cut": cut, "stored": is_stored}
        return answer(made, 201 if is_stored else 202)

    async def lift(self, request: web.Request) -> web.Response:
        """End one revocation before its time."""
        if is_browser(request):
            return problem(403, "Not for browsers", "A request with an Origin changes nothing here.")
        try:
            lifted = await self._operations.release(request.match_info["id"], self._caller(request))
        except StoreUnavailable:
            return problem(503, "Not lifted", "Store, journal or audit log do not take it: it may hold on.")
        if lifted is None:
            return problem(404, "No such revocation", "None of this id holds.")
        return answer(_shown(lifted))

    def _caller(self, request: web.Request) -> str:
        return caller(request, has_token=self._has_token)

    async def held(self, request: web.Request) -> web.Response:
        """List what is revoked, a page at a time."""
        after = request.query.get("after", "")
        rows = iter(self._operations.held())
        if after:
            rows = islice(dropwhile(lambda row: row.id != after, rows), 1, None)
        page = list(islice(rows, MOST + 1))
        more = page[MOST - 1].id if len(page) > MOST else None
        shown = [_shown(row) for row in page[:MOST]]
        return answer({**self._operations.state(), "revocations": shown, "next": more})

    async def running(self, _request: web.Request) -> web.Response:
        """List who is being served now."""
        everything = self._operations.running()
        return answer({"running": len(everything), "exchanges": [_seen(ex) for ex in everything[:MOST]]})


def _revocation(wanted: Wanted, now: float) -> Revocation | str:
    """Make a revocation of what is wanted, or say why it would not do what it says."""
    target, before = wanted.target, wanted.issued_before
    shape = SHAPES.get(target)
    if shape is not None and not re.fullmatch(shape[0], wanted.value):
        return f"The value of a {target.value} is {shape[1]}."
    if target is Target.CLAIM and (claim := wanted.value.split("|", 2)[2]) != claim.lower():
        return f"The value of a claim is {CLAIM_SHAPE}."  # not of ASCII alone: it would hit nobody
    if before is not None and target not in DATED:
        return f"A {target.value} is not issued anew: leave out issued_before; it is locked."
    if before is not None and wanted.lock:
        return "A lock voids everything: leave out lock, or issued_before."
    if wanted.expires is not None and wanted.expires <= now:
        return "It would have ended already: expires lies in the past."
    if before is None and not wanted.lock and target in DATED and target is not Target.SESSION:
        before = now  # a session that was ended does not begin again
    if not wanted.value.isprintable():
        return "The value has characters that nobody can read."
    made = Revocation(
        secrets.token_hex(8), target, wanted.value, now, before, wanted.expires, wanted.reason, "admin"
    )
    try:
        check(made)
    except ValueError as error:
        return str(error)
    return made


def _shown(revocation: Revocation) -> dict[str, object]:
    return {**asdict(revocation), "target": revocation.target.value}


def _seen(ex: Exchange) -> dict[str, object]:
    identity = ex.identity
    return {
        "id": ex.id,
        "since": ex.started,
        "identity": None if identity is None else identity.key,
        "client_id": None if identity is None else identity.client_id,
        "certificate": None if identity is None else identity.certificate,
        "token": None if identity is None else identity.token,
        "route": None if ex.route is None else ex.route.name,
        "model": None if ex.prompt is None else ex.prompt.model,
        "peer": ex.peer.address,
    }
