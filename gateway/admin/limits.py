"""What operators see of the limits of one identity, and what they forgive. Part of the admin listener.

Whoever could be nobody is refused, as where somebody is revoked. There is one change under two names: `grant`
takes so much off what was used of one limit, `reset` takes off all of it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Final, Protocol, final

import msgspec

from gateway.admin.calls import answer, caller, problem, read
from gateway.admin.operations import NAMED, NAMES
from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import MAX_VALUE, MAX_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from gateway.core.accounts import Standing

MAX_AMOUNT: Final = 10**15  # what doubles count exactly, and limits can be
KNOWN: Final = r"model|role|certificate|network|claim:.+"
KNOWN_NAMES: Final = (
    "What else is known of the identity is model, role (several with commas), certificate, network (an "
    "address) or claim:NAME."
)
MEMBERS: Final = (
    "Members are key, for a grant limit and amount (a whole number, in the limit's smallest unit), for a "
    "reset limit if only one is meant, and if wanted reason, and known: an object of texts."
)
REASON: Final = f"The reason is one line of at most {MAX_WORDS} printable characters."


class NoSuchLimit(Exception):
    """No limit of this name concerns identities; nothing was done."""


class NotForgivable(Exception):
    """The limit cannot be meant; the message says why, and nothing was done."""


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One limit of an identity.

    Args:
        limit: Its name, unique in the configuration.
        unit: What is counted, in its smallest unit.
        quota: How much there is of it.
        standing: How much is used and held.
    """

    limit: str
    unit: str
    quota: int
    standing: Standing


@final
@dataclass(frozen=True, slots=True)
class Untold:
    """A limit whose account depends on more than is known.

    Args:
        limit: Its name.
        needs: What has to be said.
    """

    limit: str
    needs: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class Order:
    """What is to be forgiven.

    Args:
        key: Whom: `Identity.key`.
        known: What else is known of the identity, by the words of `per`.
        limit: Of which limit; None: of all that are kept by identity.
        most: How much at most; None: all.
        reason: Why, for the records.
    """

    key: str
    known: Mapping[str, str]
    limit: str | None
    most: int | None
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one limit.

    Args:
        limit: Its name.
        unit: What is counted.
        taken: How much was taken off what was used; None: nobody knows.
    """

    limit: str
    unit: str
    taken: int | None


class LimitOperations(Protocol):
    """What stands behind this API."""

    async def show(self, key: str, known: Mapping[str, str], /) -> tuple[list[Row], list[Untold]]:
        """Return the limits of an identity.

        Raises:
            StoreUnavailable: Nobody knows.
        """

    async def forgive(self, order: Order, by: str, /) -> tuple[list[Taken], list[Untold]]:
        """Take off what was used, and write down who said so.

        Raises:
            NoSuchLimit: Nothing was done.
            NotForgivable: Nothing was done.
            StoreUnavailable: The audit log does not take it; nothing was done.
        """


@final
class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/limits/grant` and `POST /v1/limits/reset`."""

    key: str
    limit: str | None = None
    amount: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)] | None = None
    reason: str = ""
    known: dict[str, str] = {}


def add_limits(app: web.Application, operations: LimitOperations, *, has_token: bool) -> None:
    """Add the paths of this API.

    Args:
        app: The application of the admin listener; its guard asks for the token.
        operations: What stands behind it.
        has_token: Whether the guard asks for one: otherwise nobody proves who calls.
    """
    api = _Api(operations, has_token=has_token)
    app.router.add_get("/v1/limits", api.show)
    app.router.add_post("/v1/limits/grant", api.grant)
    app.router.add_post("/v1/limits/reset", api.reset)


@final
class _Api:
    """The handlers."""

    def __init__(self, operations: LimitOperations, *, has_token: bool) -> None:
        self._operations = operations
        self._has_token = has_token

    async def show(self, request: web.Request) -> web.Response:
        """Show what an identity has left."""
        key = request.query.get("key", "")
        pairs = [each.partition("=") for each in request.query.getall("known", [])]
        known = {name: value for name, _, value in pairs}
        wrong = _wrong(key, known)
        if wrong is not None:
            return problem(400, "Nobody is meant", wrong)
        try:
            rows, untold = await self._operations.show(key, known)
        except StoreUnavailable:
            return problem(503, "Not known", "The store of limits does not answer.")
        shown = [_shown(row) for row in rows]
        return answer({"key": key, "limits": shown, "untold": [asdict(each) for each in untold]})

    async def grant(self, request: web.Request) -> web.Response:
        """Take so much off what was used of one limit."""
        wanted = await read(request, Wanted, MEMBERS)
        if isinstance(wanted, str):
            return problem(400, "This is no grant", wanted)
        if wanted.limit is None or wanted.amount is None:
            return problem(400, "This is no grant", MEMBERS)
        return await self._forgive(wanted, request)

    async def reset(self, request: web.Request) -> web.Response:
        """Take off all that was used, of one limit or of all."""
        wanted = await read(request, Wanted, MEMBERS)
        if isinstance(wanted, str):
            return problem(400, "This is no reset", wanted)
        if wanted.amount is not None:
            return problem(400, "This is no reset", MEMBERS)
        return await self._forgive(wanted, request)

    async def _forgive(self, wanted: Wanted, request: web.Request) -> web.Response:
        wrong = _wrong(wanted.key, wanted.known)
        if wrong is not None:
            return problem(400, "Nobody is meant", wrong)
        if len(wanted.reason) > MAX_WORDS or not wanted.reason.isprintable():
            return problem(
                400,
                "Nothing was done",
                f"The reason is one line of at most {MAX_WORDS} printable characters.",
            )
        order = Order(wanted.key, wanted.known, wanted.limit, wanted.amount, wanted.reason)
        try:
            taken, untold = await self._operations.forgive(order, caller(request, has_token=self._has_token))
        except NoSuchLimit:
            return problem(404, "No such limit", "GET /v1/limits has the names of those that concern a key.")
        except NotForgivable as error:
            return problem(400, "Nothing was done", str(error))
        except StoreUnavailable:
            return problem(503, "Nothing was done", "The audit log does not take it.")
        if any(each.taken is None for each in taken):
            return problem(
                503, "Perhaps not done", "The store of limits did not answer: look before you say it again."
            )
        return answer(
            {
                "key": order.key,
                "taken": [asdict(each) for each in taken],
                "untold": [asdict(each) for each in untold],
            }
        )


def _wrong(key: str, known: Mapping[str, str]) -> str | None:
    """Say why nobody is meant, or None."""
    if not re.fullmatch(NAMED, key) or len(key) > MAX_VALUE or not key.isprintable():
        return f"A key is {NAMES}."
    for name, value in known.items():
        if not re.fullmatch(KNOWN, name) or not value.isprintable():
            return KNOWN_NAMES
        if name == "network" and not _is_address(value):
            return KNOWN_NAMES
    return None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _shown(row: Row) -> dict[str, object]:
    standing = row.standing
    return {
        "limit": row.limit,
        "unit": row.unit,
        "quota": row.quota,
        "used": standing.used,
        "held": standing.held,
        "left": max(0, row.quota - standing.used - standing.held),
        "whole_in": round(standing.reset, 3),
    }
