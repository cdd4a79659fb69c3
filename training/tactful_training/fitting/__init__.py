"""From rows to weights, and to the ONNX graph of them.

In come checked rows, an encoder (or the weights of an earlier training) and a config; out go the
best weights of the run, kept with it, how it went, and the exported graph. All of PyTorch is here.
An interrupted run leaves its state in a work folder and goes on from there.
"""
