"""The Django app: people ask for texts, workers write them, browsers show them as they grow.

Staff switch the model that writes. docs/architecture.md is the map of these folders.
"""
