"""Processes that read untrusted files: what they may not reach, and secrets out of environments.

Portal and worker both use it, so it needs nothing but Python. Linux only: elsewhere every layer is
reported as missing.
"""
