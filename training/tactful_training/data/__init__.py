"""Labelled data: what people labelled becomes rows that can be learnt and measured from.

A folder with a card and files of rows (JSONL, CSV, Parquet) comes in; checked rows, their targets
and a report of what is wrong with them go out.
"""
