"""Runs the peers' harness with the gateway among the peers. See README.md beside this file."""

import os
import sys
from pathlib import Path

from peer import make_peer


def main():
    """Take `--harness DIR` and `--compiled DIR`, pass everything else on."""
    arguments = sys.argv[1:]
    if "--harness" not in arguments:
        sys.exit("compare.py: give the harness' directory: --harness DIR")
    at = arguments.index("--harness")
    harness = Path(arguments[at + 1]).resolve()
    del arguments[at : at + 2]
    package = Path(__file__).resolve().parent.parent
    if "--compiled" in arguments:
        at = arguments.index("--compiled")
        package = Path(arguments[at + 1]).resolve()
        del arguments[at : at + 2]
    os.environ["PYTHONPATH"] = str(package)
    sys.path.insert(0, str(harness))
    import peers
    import run

    peers.PEERS["gateway"] = make_peer(peers.Peer)
    sys.argv = ["run.py", *arguments]
    run.main()


if __name__ == "__main__":
    main()
