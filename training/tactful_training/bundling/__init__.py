"""From weights to a bundle.

In come the best weights; they are exported, quantised, calibrated and given thresholds, and the
form that ships is chosen. Out goes a verified bundle with goldens and model card.
Thresholds of a finished bundle are chosen anew here too.
"""
