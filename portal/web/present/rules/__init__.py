"""Texts about the rules for arrivals."""
