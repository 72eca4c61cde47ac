"""Where issuers' keys come from: they cannot be replaced on the way, can be reached, and live long enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic_core import PydanticCustomError

from gateway.config.addresses import web_url
from gateway.config.checks.findings import Finding
from gateway.config.checks.servers import check_authorities, check_networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.addresses import Url
    from gateway.config.checks.findings import Subject
    from gateway.config.source import Path
    from gateway.config.trust import Issuer

FASTEST: Final = 1.0  # seconds between two fetches of keys
SLOWEST: Final = 3600.0  # a removed key is dead within this time
SHORTEST_LIFE: Final = 60.0
LONGEST_LIFE: Final = 7 * 86400.0


def check_keys(subject: Subject) -> Iterator[Finding]:
    """Check the key source of every issuer."""
    for index, issuer in enumerate(subject.settings.identity.issuers):
        path: Path = ("identity", "issuers", index)
        yield from _check_source(path, issuer)
        yield from _check_times(path, issuer)


def _check_source(path: Path, issuer: Issuer) -> Iterator[Finding]:
    source = issuer.jwks
    place = (*path, "issuer" if source is None else "jwks")
    if source is None:
        try:
            source = web_url(issuer.issuer)
        except PydanticCustomError:
            message = f"`{issuer.issuer}` is no URL, so its keys cannot be discovered"
            mend = "add `jwks:` with an `https://` URL, or `file:` and a path"
            yield Finding(place, message, mend, ((*path, "jwks"),))
            return
    elif issuer.jwks_origins:
        message = "`jwks_origins` has no effect: `jwks` says where the keys are"
        yield Finding((*path, "jwks_origins"), message, "remove one of the two", (place,), is_key=True)
    if source.scheme == "http" and not source.is_local:
        message = "whoever sits on the network path could replace these keys"
        yield Finding(place, message, "write `https://`, or `file:` and a path")
    keys: dict[Path, Url | None] = {place: source}
    if issuer.jwks is None:  # discovery may lead to these too
        keys |= {(*path, "jwks_origins", index): one for index, one in enumerate(issuer.jwks_origins)}
    asked = issuer.introspection
    questions: Path = (*path, "introspection", "endpoint")
    everything = keys | {questions: None if asked is None else asked.endpoint}
    yield from check_networks((*path, "networks"), issuer.networks, everything)
    # the authorities are those of questions too, unless these have their own
    own = asked is not None and asked.ca is not None
    yield from check_authorities((*path, "jwks_ca"), issuer.jwks_ca, keys if own else everything)


def _check_times(path: Path, issuer: Issuer) -> Iterator[Finding]:
    refresh, life = issuer.refresh, issuer.keys_hard_age
    if refresh is not None and not FASTEST <= refresh <= SLOWEST:
        message = "keys are fetched once a second at most, and once an hour at least"
        yield Finding((*path, "refresh"), message, "write a time from `1s` to `1h`")
    place = (*path, "keys_hard_age")
    if issuer.jwks is not None and issuer.jwks.scheme == "file":
        if "keys_hard_age" in issuer.model_fields_set:
            message = "`keys_hard_age` has no effect: a file is not fetched"
            yield Finding(place, message, "remove it", ((*path, "jwks"),), is_key=True)
    elif life > LONGEST_LIFE:
        message = "keys that nobody has confirmed for more than a week prove nothing"
        yield Finding(place, message, "write at most `7d`")
    elif life < SHORTEST_LIFE or (refresh is not None and life < 2 * refresh):
        message = "keys would die between two fetches"
        mend = "write at least `1m`, and twice the time of `refresh`"
        yield Finding(place, message, mend, ((*path, "refresh"),))
