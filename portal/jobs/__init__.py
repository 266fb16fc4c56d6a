"""The job ledger: the database is the queue of record, Redis only notifies workers sooner.

A job is claimed by one conditional UPDATE, and the number of its attempts is the fencing number:
only the attempt that a claim has made can store, finish or fail. What a lost attempt has stored is
never shown and is removed. The one retry mechanism is the sweep. The functions commit their own
transaction, except `claims.enqueue`.
"""
