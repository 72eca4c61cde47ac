"""Compiles the request path with mypyc, from the same source, into a copy of the package.

    python deploy/compile.py build/compiled
    PYTHONSAFEPATH=1 PYTHONPATH=build/compiled python -m gateway run --config gateway.yaml

Needs mypy and a C compiler with Python's headers. The compiled package behaves as the source does, and
its line costs about a third; what is not listed here stays plain Python. `make test-compiled` runs the
suites that go through sockets against it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# The functions of all modules call each other: without these, every call looks its target up in a table
# first, for somebody who might have replaced it. Measured: a tenth of the compiled code's time.
FLAGS = "-fno-semantic-interposition -fvisibility=hidden -fno-plt"

# What runs for every request. Left out: modules whose classes the compiler does not take (frozen
# dataclasses with slots, protocols, msgspec structs), and everything that runs once.
MODULES = (
    "core/call.py",
    "core/exchange.py",
    "core/gate.py",
    "core/identity.py",
    "core/limits.py",
    "core/memo.py",
    "core/outbound.py",
    "core/permit.py",
    "core/prompt.py",
    "core/refusal.py",
    "core/route.py",
    "core/signals.py",
    "credentials/assertions.py",
    "credentials/clock.py",
    "observe/chain.py",
    "observe/encoder.py",
    "observe/metrics.py",
    "observe/recorder.py",
    "observe/redact.py",
    "observe/served.py",
    "observe/spool.py",
    "pipeline.py",
    "runtime.py",
    "stages/authorize/__init__.py",
    "stages/authorize/attributes.py",
    "stages/authorize/conditions.py",
    "stages/authorize/globs.py",
    "stages/authorize/policy.py",
    "stages/authorize/rules.py",
    "stages/forward.py",
    "stages/identify/__init__.py",
    "stages/identify/cache.py",
    "stages/inspect/__init__.py",
    "stages/inspect/document.py",
    "stages/inspect/fingerprint.py",
    "stages/inspect/json_schema.py",
    "stages/inspect/media_type.py",
    "stages/inspect/opaque.py",
    "stages/inspect/openai_chat.py",
    "stages/inspect/strict_json.py",
    "stages/limit.py",
    "stages/meter/__init__.py",
    "stages/score/__init__.py",
    "stages/score/denied_probing.py",
    "stages/score/malformed_burst.py",
    "stages/score/wilson.py",
    "state/connection.py",
    "state/counters.py",
    "state/memory.py",
    "state/redis.py",
    "state/redis_counters.py",
    "state/script.py",
    "state/sketch.py",
    "state/verdict.py",
    "wire/answer.py",
    "wire/downstream.py",
    "wire/driver.py",
    "wire/flood.py",
    "wire/framing.py",
    "wire/incoming.py",
    "wire/known.py",
    "wire/pool.py",
    "wire/reader.py",
    "wire/reply.py",
    "wire/service.py",
    "wire/turnstile.py",
    "wire/upstream.py",
)


def main() -> int:
    """Copy, compile, report."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one argument
        print(__doc__)
        return 2
    root = Path(__file__).resolve().parent.parent
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "gateway", target / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", target)
    command = [sys.executable, "-m", "mypyc", *(f"gateway/{module}" for module in MODULES)]
    environment = dict(os.environ)  # noqa: TID251 - for the C compiler: no part of the product
    environment["CFLAGS"] = f"{environment.get('CFLAGS', '')} {FLAGS}".strip()
    result = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 - our own list
    if result.returncode:
        print(result.stdout[-4000:], result.stderr[-4000:], sep="\n", file=sys.stderr)
        return 1
    shutil.rmtree(target / "build", ignore_errors=True)
    print(f"{len(list(target.rglob('*.so')))} modules compiled into {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
