"""Columns of numbers in text files, in whatever dialect: `table.read_table`."""
