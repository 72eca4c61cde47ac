"""What sets dialects apart where a configuration is judged: nouns alone, no code.

A dialect that is in none of these sets names a model, asks for no stream, and its answers say how many
tokens came in and went out.
"""

from __future__ import annotations

from typing import Final

# Requests name no model: rules and limits about models never match.
NAMELESS: Final = frozenset({"openai.models", "opaque"})

# Answers say nothing of tokens, so that no limit of tokens could be settled.
UNMETERED: Final = frozenset(
    {
        "anthropic.count_tokens",
        "oip",
        "openai.models",
        "openai.moderations",
        "opaque",
    }
)

# Answers are not made of output tokens: nothing is set aside for them.
WITHOUT_OUTPUT: Final = UNMETERED | {"openai.embeddings"}

# Requests can ask for a stream.
STREAMING: Final = frozenset(
    {
        "anthropic.messages",
        "openai.audio",
        "openai.chat",
        "openai.completions",
        "openai.images",
        "openai.responses",
    }
)

# Whose event streams end, where they are cut, with an event in Anthropic's shape.
ANTHROPIC: Final = frozenset({"anthropic.count_tokens", "anthropic.messages"})

# Whose own paths are all that passes, so that a wildcard reaches nothing that a server is managed by.
WITHOUT_MANAGEMENT: Final = frozenset({"oip"})
