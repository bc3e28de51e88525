"""Inference: one step of the model for many texts at once, exact sampling, and the streams that texts come out of.

Nothing here reads files, and nothing here needs torch unless it is asked for.
"""
