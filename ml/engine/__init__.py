"""Inference: a step of the model for many texts at once, exact sampling, and streams of characters.

Nothing here reads files. Only torch_step.py needs torch, and it is loaded on demand.
"""
