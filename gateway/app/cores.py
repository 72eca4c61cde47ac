"""How many cores this process may use: what `--workers auto` means.

The least of the cores that the scheduler allows and the quota of the control groups above us: in a
container the first is often the whole machine. Never less than one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUP: Final = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """Return the number of cores, whole ones of a quota.

    Args:
        cgroups: Where control groups (version 2) are mounted.
        own: Which one we are in.
    """
    cores = len(os.sched_getaffinity(0))
    for quota in _quotas(cgroups, own):
        cores = min(cores, int(quota))
    return max(1, cores)


def _quotas(cgroups: Path, own: Path) -> list[float]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    place = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if place is None or ".." in place.split("/"):
        return []
    group, quotas = cgroups / place, []
    while group == cgroups or cgroups in group.parents:
        try:
            quota, period = (group / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):  # not there, or "max": no quota here
            pass
        group = group.parent
    return quotas
