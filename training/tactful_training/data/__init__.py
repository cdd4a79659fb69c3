"""Data sets: the card that names the tasks, the rows, and checks on both."""
