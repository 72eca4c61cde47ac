"""Runs pytest against the package in a directory, not the one beside the tests.

    PYTHONSAFEPATH=1 PYTHONPATH=DIR python deploy/with_package.py DIR [pytest's arguments]

pytest puts the repository before everything else on the path; a package that is imported already stays.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gateway


def main() -> int:
    """Check which package this is, then run."""
    directory = Path(sys.argv[1]).resolve()
    if not Path(gateway.__file__).is_relative_to(directory):
        print(f"gateway comes from {gateway.__file__}, not from {directory}", file=sys.stderr)
        return 2
    import pytest  # noqa: PLC0415 - after the package, see above

    return int(pytest.main(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
