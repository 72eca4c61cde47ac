"""A language model of a few kilobytes with random weights, for llama.cpp's own server.

Real enough for everything but sense: a tokenizer with one token per character, a chat template,
attention, sampling, grammars. `python -m tests.e2e.tiny_model DIRECTORY` serves it on DIRECTORY/m.sock,
says `ready`, and ends when its standard input does.
"""

from __future__ import annotations

import random
import struct
import sys
from array import array
from math import prod
from pathlib import Path

WIDTH, HEADS, LAYERS, INNER, CONTEXT = 32, 2, 1, 64, 2048
CHARACTERS = "\n" + "".join(map(chr, range(33, 127)))
TOKENS = ["<unk>", "<s>", "</s>", "\u2581", *CHARACTERS]  # U+2581 is how this tokenizer writes a space
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # kinds of tokens
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9  # kinds of values in a GGUF file
ALIGNMENT = 32  # bytes; where each tensor begins
FACTS: dict[str, object] = {
    "general.architecture": "llama",
    "llama.context_length": CONTEXT,
    "llama.embedding_length": WIDTH,
    "llama.block_count": LAYERS,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": WIDTH // HEADS,
    "llama.vocab_size": len(TOKENS),
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.scores": [0.0] * len(TOKENS),
    "tokenizer.ggml.token_type": [UNKNOWN, CONTROL, CONTROL] + [NORMAL] * (len(TOKENS) - 3),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.chat_template": TEMPLATE,
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the tensors, the fastest dimension first."""
    found: dict[str, tuple[int, ...]] = {"token_embd": (WIDTH, len(TOKENS)), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        found |= {f"{block}attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
        found |= {f"{block}ffn_gate": (WIDTH, INNER), f"{block}ffn_up": (WIDTH, INNER)}
        found |= {f"{block}ffn_down": (INNER, WIDTH)}
        found |= {f"{block}attn_norm": (WIDTH,), f"{block}ffn_norm": (WIDTH,)}
    return found


def text(value: str) -> bytes:
    """Write a string: its length, its bytes."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def typed(value: object) -> tuple[int, bytes]:
    """Return kind and bytes of a value."""
    match value:
        case str():
            return STRING, text(value)
        case int():
            return UINT32, struct.pack("<I", value)
        case float():
            return FLOAT32, struct.pack("<f", value)
        case list():
            items = [typed(item) for item in value]
            kind = INT32 if items[0][0] == UINT32 else items[0][0]
            return ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(data for _, data in items)
        case _:
            raise TypeError(value)


def write(path: Path) -> None:
    """Write the model's file (GGUF, version 3)."""
    dice = random.Random(7)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(shapes()), len(FACTS))
    for name, value in FACTS.items():
        kind, data = typed(value)
        head += text(name) + struct.pack("<I", kind) + data
    body = b""
    for name, shape in shapes().items():
        head += text(f"{name}.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(body))
        size = prod(shape)
        values = [1.0] * size if len(shape) == 1 else [dice.gauss(0.0, 0.1) for _ in range(size)]
        data = array("f", values).tobytes()
        body += data + bytes(-len(data) % ALIGNMENT)
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + body)


def main(directory: Path) -> None:
    """Serve until standard input ends."""
    import xllamacpp

    path = directory / "m.gguf"
    write(path)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames = [str(directory / "m.sock")]
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = CONTEXT, 2, 1
    params.model_alias = {"tiny"}
    params.warmup = False
    server = xllamacpp.Server(params)
    print(f"ready {server.listening_address}", flush=True)  # noqa: T201 - what the test waits for
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
