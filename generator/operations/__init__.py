"""Keeping the product running.

Starts and restarts its processes, finds out whether they are well, and gives lost work back.
"""
