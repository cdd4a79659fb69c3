"""The forms in which a reading leaves the house.

In come readings; out go flat rows of tables, lines for a terminal, and what MLflow serves.
"""
