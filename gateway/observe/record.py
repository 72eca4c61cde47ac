"""One exchange as one JSON object: what the audit log, the log and `gateway audit show` share.

The fields, their order and their units are the schema below; docs/audit.md explains each. Facts that
are not known (a refused request has no endpoint) are left out. Never recorded: prompts, answers,
credentials (digests only), header values, query strings, exception texts.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from gateway.core.refusal import LimitState  # noqa: TC001 - msgspec reads the annotations
from gateway.core.signals import Signal  # noqa: TC001 - likewise

NOBODY: Final = msgspec.Raw()
HARMLESS: Final = 0.0  # msgspec leaves out a default that is the very same object


@final
class Who(msgspec.Struct, omit_defaults=True, gc=False):
    """The verified identity. `token` is the first 16 hex digits of the token's SHA-256."""

    key: str
    issuer: str = ""
    subject: str = ""
    methods: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()
    certificate: str | None = None
    token: str | None = None
    token_id: str | None = None
    client_id: str | None = None
    key_id: str | None = None


@final
class Micros(msgspec.Struct, omit_defaults=True, gc=False):
    """Microseconds per stage; a stage that was not reached is left out.

    `identify`, `enter`, `limit`, `inspect` (the body's arrival included), `decide` (score, authorize,
    prepare), `backend` (from the request sent to the head of the answer), `relay`, and `total`.
    """

    total: int
    identify: int | None = None
    enter: int | None = None
    limit: int | None = None
    inspect: int | None = None
    decide: int | None = None
    backend: int | None = None
    relay: int | None = None


@final
class Record(msgspec.Struct, omit_defaults=True, gc=False):
    """The record of one exchange, in this order. Times are UTC, sizes bytes."""

    time: str
    id: str
    outcome: str
    status: int
    reason: str | None = None
    source: str | None = None
    method: str | None = None
    path: str | None = None
    route: str | None = None
    rule: str | None = None
    model: str | None = None
    stream: bool = False
    who: msgspec.Raw = NOBODY  # a `Who`, encoded once per identity
    peer: str = ""
    certificate: str | None = None
    tls: str | None = None
    risk: float = HARMLESS
    signals: tuple[Signal, ...] = ()
    limit: str | None = None
    limits: tuple[LimitState, ...] = ()
    is_local_limit: bool = False
    endpoint: str | None = None
    assertion: str | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    events: int = 0
    us: Micros | None = None
    configuration: str = ""
    note: str = ""
    fault: str | None = None
