"""A reply becomes the words that the agent wrote.

In comes a reply as a mailbox, a ticket system or a chat gives it; out go the agent's own words,
what was left out of it and why (quoted messages, signatures, footers, markup, addresses), and
where each character that is left stands in the original. A talk of several speakers is refused.
"""
