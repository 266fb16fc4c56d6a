"""The boards as texts, tables and plots, beside `performance` and `drift`."""
