"""The Django app: people ask for texts, workers write them, browsers follow them, staff switches the model."""
