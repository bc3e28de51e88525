"""Training: from a corpus to weights, with exact resume, metrics and a run in MLflow."""
