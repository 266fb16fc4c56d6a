"""Drift jobs: recent predictions against what their model's card states."""
