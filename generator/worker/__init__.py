"""What runs in Celery's generate queue: one process that claims texts and has engines write them.

`runtime.py` starts and stops the process, `presence.py` keeps its heartbeat row. `writer.py` takes
one text from claim to end, and `outcome.py` decides what then becomes of its row. `writing.py`
knows the texts under way and saves them. `publisher.py` and `frames.py` carry new characters to
Redis, `cancels.py` hears whom to stop. `repeat.py` repeats work, `stopping.py` ends the process.
"""
