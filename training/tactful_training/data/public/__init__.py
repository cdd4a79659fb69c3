"""Public data sets: their original files, checked and turned into rows.

The card of a set (``data_cards/<set>/README.md``) says under ``originals`` what its original files
must be; a module for each set says how they become rows; `prepare` does both.
"""
