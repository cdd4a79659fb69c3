"""What people say of replies: from a folder of replies to labels, and corrections that flow back.

Replies and label names come in as a new data set; rows go out to the tools in which people label
and come back; the agreement of those who labelled is measured; what they say is merged into a data
set, with who said it, when and why.
"""
