"""What a reply costs, before it is tokenised.

The queue must refuse at once, and tokenising is itself work that grows with the text; so the cost
is an estimate from the number of bytes. Four bytes of English are about one token of the usual
encoders; scripts that take more tokens a character take more bytes too. What the model never
reads costs nothing: a context is cut to the room beside the reply, and a reply to its windows.
"""

from __future__ import annotations

from tactful.reading.encoding import SPECIAL_TOKENS, EncodingLimits

BYTES_PER_TOKEN = 4


def estimate_tokens(reply: str, context: str | None, limits: EncodingLimits) -> int:
    """About how many tokens the model will run for one reply.

    Args:
        reply: the text.
        context: what the customer said before.
        limits: of the bundle's encoding.
    """
    size = _tokens(reply)
    if size <= limits.capacity:
        context_size = _tokens(context) if context and limits.use_context else 0
        return min(size + context_size, limits.capacity) + SPECIAL_TOKENS
    windows = 1 + -(-(size - limits.capacity) // limits.stride)
    return min(limits.max_windows, windows) * limits.max_tokens


def _tokens(text: str) -> int:
    # A lone surrogate has no UTF-8, but is a text that can be read.
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
