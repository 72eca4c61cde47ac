"""The gateway's command with a supervisor that waits for nobody as long; nothing else differs."""

from __future__ import annotations

import sys

from gateway.__main__ import main
from gateway.app import bookkeeping, supervisor

if __name__ == "__main__":
    supervisor.STUCK_SECONDS = 1.5
    supervisor.BEAT_SECONDS = 0.2
    bookkeeping.STATEMENT_SECONDS = 0.5  # type: ignore[misc]
    sys.exit(main())
