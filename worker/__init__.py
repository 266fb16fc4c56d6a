"""The computing side of Pleura: takes jobs by id from Redis and their data over HTTP.

A worker has no database login and no vault key. It never imports ``portal``.
"""
