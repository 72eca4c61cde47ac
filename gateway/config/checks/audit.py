"""Whether what is recorded can be proven: hashes alone have no secret, and can be made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Subject

MEND: Final = (
    "`(umask 077; mkdir -p secrets; openssl genpkey -algorithm ed25519 -out secrets/checkpoint.key)`, "
    "and add `audit: {checkpoint_key: secrets/checkpoint.key}`"
)


def check_audit(subject: Subject) -> Iterator[Finding]:
    """The audit log is signed."""
    if subject.settings.audit.checkpoint_key is None:
        message = (
            "no `checkpoint_key` signs the audit log: whoever can write it can rewrite all of it unnoticed"
        )
        yield Finding(("audit",), message, MEND, is_warning=True, is_key=True)
