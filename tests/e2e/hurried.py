"""The gateway's command with the waits around an issuer's keys cut short; nothing else differs.

Unknown key ids are asked for every time, and a silent key server is given up sooner.
"""

from __future__ import annotations

import sys

from gateway.__main__ import main
from gateway.credentials import remote

if __name__ == "__main__":
    (remote.UrlKeySet.__init__.__kwdefaults__ or {}).update(window=0.0, flight_seconds=1.5)
    sys.exit(main())
