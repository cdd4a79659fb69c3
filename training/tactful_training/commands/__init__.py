"""Commands that join the ``tactful`` command line through entry points.

These modules import nothing heavy at module level, so that ``tactful --help`` stays quick and a
missing extra is reported with its install line.
"""
