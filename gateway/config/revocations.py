"""The section `revocations`, and a route's `continuous`: who is no longer believed, and what then ends."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.quantities import Duration
from gateway.config.references import FilePath, Secret
from gateway.config.section import Section, setting


class Continuous(Section):
    """How what was permitted is verified again while it runs. A revocation always ends it."""

    expiry: Literal["end", "finish"] = setting(
        "end", "What runs when its credential expires ends, or may finish."
    )
    policy: Literal["end", "finish"] = setting(
        "end",
        "What the rules would no longer permit (hours, roles, a new configuration) ends, or may finish.",
    )
    every: Duration = setting(
        "1s", "How often it is looked at, at least; changes are looked at as they come."
    )


class Revocations(Section):
    """Who is no longer believed, and how that is kept."""

    journal: FilePath | None = setting(
        None,
        "File in which this process keeps them; none: beside the audit log, with the ending `.revocations`. "
        "A process that cannot read it whole does not start.",
    )
    max_staleness: Duration = setting(
        "5s",
        "With Redis: how old what is known may be. While it is older every request is refused and every "
        "running one ends, whatever `state.on_failure` says.",
    )
    capacity: Annotated[int, Field(ge=1000, le=10_000_000)] = setting(
        200_000, "Most revocations that are held; a further one is refused to whoever makes it."
    )
    secret: Secret | None = setting(
        None,
        "With Redis: what the fleet shares and Redis does not have; it seals revocations, so that who runs "
        "Redis can neither make, lift nor read one. None: derived from the password of `state`.",
    )
