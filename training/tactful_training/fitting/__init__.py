"""From rows to weights.

In come checked rows, an encoder and a config; out go the best weights of the run and how it went.
An interrupted run leaves its state in a work folder and goes on from there.
"""
