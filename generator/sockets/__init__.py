"""Live text: one socket for each page that watches a text.

The consumer says who may watch; the follower decides what to send and fills gaps; the channel hears
of new frames through Redis.
"""
