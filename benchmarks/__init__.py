"""Measurements of speed and memory, run from the Makefile. The product imports none of them."""
