"""How good a bundle is.

In come labelled rows and what a bundle says of them; out go figures with 95% intervals, on slices,
beside a baseline, or of two bundles compared on the same rows.
"""
