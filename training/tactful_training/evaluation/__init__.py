"""How good a bundle is.

In come labelled rows and what a bundle decides on them; out go figures with 95% intervals, of the
whole, on slices, or of two bundles compared on the same rows.
"""
