"""Live text: one socket for each page that watches a text.

The consumer is the socket itself. Everything below it could serve another transport: `access` says
who may watch, the watch runs until there is a reason to end, the follower decides what to send and
fills gaps, the subscription brings new frames from Redis, the store reads what did not come live.
"""
