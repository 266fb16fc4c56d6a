"""The computing side of Pleura: job ids come from Redis, the jobs' data over HTTP.

A worker has no database login and no vault key. It never imports ``portal``.
"""
