"""What a reply costs, before it is tokenised.

The queue must refuse at once, and tokenising is itself work that grows with the text; so the cost
is an estimate from the number of bytes. Four bytes of English are about one token of the usual
encoders; scripts that take more tokens a character take more bytes too. What the model never
reads costs nothing: a context is cut to the room beside the reply, and a reply to its windows.
"""

from __future__ import annotations

from tactful.reading.decisions import Heads
from tactful.reading.encoding import SPECIAL_TOKENS

BYTES_PER_TOKEN = 4


def estimate_tokens(reply: str, context: str | None, heads: Heads) -> int:
    """About how many tokens the model will run for one reply.

    Args:
        reply: the text.
        context: what the customer said before.
        heads: the limits of the bundle's encoding.
    """
    capacity = heads.max_tokens - SPECIAL_TOKENS
    size = _tokens(reply)
    if size <= capacity:
        context_size = _tokens(context) if context and heads.use_context else 0
        return min(size + context_size, capacity) + SPECIAL_TOKENS
    stride = capacity - heads.window_overlap
    windows = min(heads.max_windows, 1 + -(-(size - capacity) // stride))
    return windows * heads.max_tokens


def _tokens(text: str) -> int:
    # A lone surrogate has no UTF-8, but is a text that can be read.
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
