"""Compiles what knows who is revoked, and makes what keeps it: for this process, or for a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from gateway.app.findings import RANDOM_MEND
from gateway.app.shared_state import INLINE, MEMORY, server_of
from gateway.state.link import FULL
from gateway.state.local_revocations import LocalRevocations
from gateway.state.replicated import ReplicatedRevocations
from gateway.state.revocation_journal import RevocationJournal
from gateway.state.revocations import RevocationIndex
from gateway.state.sealing import Seal

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app.compilation import Compilation
    from gateway.app.findings import Findings
    from gateway.config.schema import Settings
    from gateway.core.ports import Clock

Keeper = LocalRevocations | ReplicatedRevocations

LEAST_SECRET: Final = 16  # characters: whoever has a sealed entry can try

MENDS: Final = {
    "lost": "nobody is believed once this is older than `revocations.max_staleness`; see docs/redis.md",
    "foreign": "another gateway seals with another `revocations.secret`: give all the same, or remove the "
    "keys `gateway:{revocations}:*` if that gateway is gone; nobody is believed until then",
    "full": "more is revoked than `revocations.capacity`: raise it; nobody is believed until then",
    "forged": "Redis holds what no gateway of this fleet wrote; it is not believed. Find out who wrote it",
    "unkept": "make room on the disk of `revocations.journal`: a restart would know less than this process",
}


def compile_revocations(
    settings: Settings, directory: Path, clock: Clock, blinding: bytes, findings: Findings
) -> tuple[RevocationIndex, Seal]:
    """Make the index and the seal; knows nothing before its keeper is started.

    Args:
        settings: The settings.
        directory: Directory of the configuration.
        clock: Time.
        blinding: What the fleet shares if there is no secret for this alone.
        findings: Takes what is wrong.
    """
    own = settings.revocations
    secret = blinding
    place = ("revocations", "secret")
    found = findings.secret(place, own.secret, directory)
    if found is not None:
        secret = found.encode()
        if len(secret) < LEAST_SECRET:
            findings.add(place, f"the secret has fewer than {LEAST_SECRET} characters", RANDOM_MEND)
    is_alone = settings.state.url.scheme == "memory"
    index = RevocationIndex(clock, capacity=own.capacity, bound=None if is_alone else own.max_staleness)
    return index, Seal(secret)


def make_keeper(compilation: Compilation, clock: Clock) -> Keeper:
    """Make what keeps the revocations; it still has to be started.

    Args:
        compilation: Where they live.
        clock: Time.
    """
    index = compilation.revocations
    path = journal_path(compilation.settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    journal = RevocationJournal(path, index.everything)
    if compilation.settings.state.url.scheme == "memory":
        return LocalRevocations(index, journal)
    return ReplicatedRevocations(
        index, journal, server_of(compilation), compilation.seal, clock, report=_report
    )


def journal_path(settings: Settings) -> Path:
    """Return where the journal lies: where it was put, or beside the audit log."""
    audit = settings.audit.path
    return settings.revocations.journal or audit.with_name(f"{audit.stem}.revocations")


def _report(event: str, why: str) -> None:
    log = structlog.get_logger()
    if event == "back":
        log.info("state-back", what="revocations")
    elif event == "inline":
        log.warning("state-scripts-inline", what="revocations", mend=INLINE)
    elif event == FULL:
        log.error("state-full", what="revocations", why=f"{event} {why}".rstrip(), mend=MEMORY)
    elif event == "lost":
        log.error("state-lost", what="revocations", why=why, mend=MENDS[event])
    else:
        log.error("revocations-doubtful", why=event, mend=MENDS[event])
