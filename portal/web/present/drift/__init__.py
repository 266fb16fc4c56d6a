"""The board of drift as texts, tables and plots."""
