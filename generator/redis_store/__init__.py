"""Everything that is kept in Redis. All of it is disposable: the rows in the database hold the truth.

The stream log of each text, short messages between processes, counters of limits, and the queues
that Celery reads.
"""
