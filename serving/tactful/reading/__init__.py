"""A text becomes a reading.

In come a reply with its context and what a bundle holds: tokenizer, graph, heads. The reply is
encoded, run in batches, and its logits are calibrated and decided; out goes a `Reading`:
scores, decided labels and the words that carry them.
"""
