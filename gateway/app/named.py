"""What a configuration names outside of its own file, and whether it is still the same: by content.

Left out is what watches itself while it is used: certificates and keys of listeners and backends, revocation
lists, authorities of clients, key sets and bundles in files, gateway keys. Digests of secrets stay in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.config.references import SecretReference
from gateway.config.section import Section
from gateway.credentials.files import read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.config.schema import Settings

MAX_BYTES: Final = 4 * 1024 * 1024  # more than anything that a configuration names may have
UNREADABLE: Final = b"-"


def named(value: object) -> Iterator[Path]:
    """Yield the files that a setting or section names, those of secrets included.

    Args:
        value: A section, or what stands in one.
    """
    if isinstance(value, Path):
        yield value
    elif isinstance(value, SecretReference):
        if value.kind == "file":
            yield Path(value.target)
    elif isinstance(value, Section):
        for name in type(value).model_fields:
            yield from named(getattr(value, name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from named(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from named(each)


def compiled_files(settings: Settings) -> tuple[Path, ...]:
    """Return the files whose contents become part of a compilation, each once, in order of the sections."""
    identity = settings.identity
    backends = settings.backends.values()
    found = chain(
        named(identity.issuers),
        *((named(domain.bundle_ca)) for domain in identity.trust_domains.values()),
        named(identity.signals),
        named(None if identity.keys is None else identity.keys.pepper),
        *((named((backend.credential, backend.exchange))) for backend in backends),
        named(tuple(route.schema_file for route in settings.routes)),
        named(settings.assertions.private_key),
        fixed_files(settings),
    )
    return tuple(dict.fromkeys(found))


def fixed_files(settings: Settings) -> tuple[Path, ...]:
    """Return the files that are read once, when the gateway starts, and must not change after that."""
    admin = settings.admin
    return tuple(
        named(
            (
                settings.state.password,
                settings.state.sentinel_password,
                settings.revocations.secret,
                None if admin is None else admin.token,
                settings.audit.checkpoint_key,
            )
        )
    )


def digest(files: Iterable[Path], first: bytes = b"") -> bytes:
    """Return one digest over what comes first and the contents of files; unreadable ones count as such."""
    total = sha256(sha256(first).digest())
    for file in files:
        try:
            total.update(sha256(read_bounded(file, MAX_BYTES)).digest())
        except (OSError, ValueError):
            total.update(UNREADABLE)
    return total.digest()
