"""Calls to nodes: how the portal associates with one, and the echo test."""
