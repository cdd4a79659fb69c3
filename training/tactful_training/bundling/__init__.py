"""From an exported graph to a bundle.

In comes the graph with what PyTorch says of the validation split. Calibration is fitted to its fp32
form; the others are made and measured with it, and the first that reads as well as fp32 is measured
on the test split and packed with goldens and model card into a verified bundle. Thresholds of a
finished bundle are chosen anew here too.
"""
