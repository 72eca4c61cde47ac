"""A language model of a few kilobytes with random weights, for llama.cpp's own server.

Real enough for everything but sense: a tokenizer with one token per character, a chat template,
attention, sampling, grammars. `python -m tests.e2e.tiny_model DIRECTORY` serves it on DIRECTORY/m.sock,
says `ready`, and ends when its standard input does.
"""

from __future__ import annotations

import sys
from pathlib import Path

WIDTH, HEADS, LAYERS, INNER, CONTEXT = 32, 2, 1, 64, 2048
CHARACTERS = "\n" + "".join(map(chr, range(33, 127)))
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # kinds of tokens in the file format


def write(path: Path) -> None:
    """Write the model's file."""
    import numpy as np
    from gguf import GGUFWriter

    tokens = ["<unk>", "<s>", "</s>", "\u2581", *CHARACTERS]  # U+2581 is how this tokenizer writes a space
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([UNKNOWN, CONTROL, CONTROL] + [NORMAL] * (len(tokens) - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    random = np.random.default_rng(7)
    square = (WIDTH, WIDTH)
    shapes = {"token_embd": (len(tokens), WIDTH)}
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        shapes |= {f"{block}attn_{name}": square for name in ("q", "k", "v", "output")}
        shapes |= {f"{block}ffn_gate": (INNER, WIDTH), f"{block}ffn_up": (INNER, WIDTH)}
        shapes |= {f"{block}ffn_down": (WIDTH, INNER)}
        shapes |= {f"{block}attn_norm": (WIDTH,), f"{block}ffn_norm": (WIDTH,)}
    for name, shape in (shapes | {"output_norm": (WIDTH,)}).items():
        values = np.ones(shape) if len(shape) == 1 else random.standard_normal(shape) * 0.1
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


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
