"""Everything that is kept in Redis. It may be lost: the rows in the database hold the truth.

`clients.py` connects and `keys.py` names the keys. `stream_log.py` keeps the frames of each text,
`notify.py` sends short messages to the site's processes, `limits.py` counts what addresses and
sockets do. Celery's queues are `broker.py` and `task_messages.py`.
"""
