"""Public data sets: original files come in, from a folder or the hub; a data set goes out.

The card of a set (``data_cards/<set>/README.md``) says what its original files must be, a module
for each set says how they become rows, and `prepare` does both.
"""
