"""The whole configuration file as types. START READING HERE, then the section's own module.

Only what one value alone can tell is decided here; what takes two values, or a file, is decided in
`gateway.config.checks`.
"""

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.addresses import WebUrl
from gateway.config.limits import Metered, Price
from gateway.config.listener import Admin, Server
from gateway.config.patterns import ModelPattern, Name
from gateway.config.quantities import Duration, Size
from gateway.config.references import FilePath
from gateway.config.revocations import Revocations
from gateway.config.routing import Route
from gateway.config.section import Section, required, setting
from gateway.config.trust import Assertions, Identification, Role
from gateway.config.upstream import Backend, State


class Audit(Section):
    """The record: chained by hashes, signed with `checkpoint_key`."""

    path: FilePath = setting("audit/gateway.jsonl", "The audit log; its directory is made if it is missing.")
    sync_every: Duration = setting("20ms", "How long a record may wait for the disk, at most.")
    rotate_at: Size = setting("1GiB", "Size at which a new file is begun; the chain goes on.")
    checkpoint_key: FilePath | None = setting(None, "PEM file: Ed25519 private key that signs checkpoints.")


class Log(Section):
    """What is written to the standard output."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Least serious event that is written."
    )
    exchanges: bool = setting(default=True, description="Write one line per exchange.")


class Traces(Section):
    """OpenTelemetry traces."""

    endpoint: WebUrl = required("URL of an OTLP/HTTP collector.")
    sample: Annotated[float, Field(ge=0, le=1)] = setting(
        0.01, "Share of served requests that are traced; refusals always are."
    )


class Behaviour(Section):
    """The memory behind risk scores."""

    half_life: Duration = setting("10m", "Time in which counters halve.")
    identities: Annotated[int, Field(ge=100, le=10_000_000)] = setting(
        100_000, "Most identities that are remembered."
    )


class Settings(Section):
    """The Zero-Trust Model Gateway's configuration."""

    server: Server = required("The listener for clients.")
    admin: Admin | None = setting(None, "The listener for operators; none: there is none.")
    state: State = setting({}, "Where limits and counters live.")
    identity: Identification = setting({}, "How callers prove who they are.")
    roles: dict[Name, Role] = setting({}, "Roles by name: what callers are called in rules.")
    backends: Annotated[dict[Name, Backend], Field(min_length=1)] = required(
        "Backends by name: where models run."
    )
    routes: Annotated[tuple[Route, ...], Field(min_length=1)] = required("What may be called.")
    budgets: dict[Name, Metered] = setting({}, "Limits by name that several routes draw on together.")
    prices: dict[ModelPattern, Price] = setting({}, "What models cost, by name; `*` for all others.")
    revocations: Revocations = setting({}, "Who is no longer believed, and how that is kept.")
    assertions: Assertions = setting({}, "The gateway's own signature for backends.")
    audit: Audit = setting({}, "The record: chained by hashes, signed with `checkpoint_key`.")
    log: Log = setting({}, "What is written to the standard output.")
    traces: Traces | None = setting(None, "OpenTelemetry traces; none: no traces.")
    behaviour: Behaviour = setting({}, "The memory behind risk scores.")
