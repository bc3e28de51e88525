"""Keeping the product running: start and restart its processes, find out whether they are well, give back lost work."""
