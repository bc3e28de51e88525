"""What runs inside a Celery worker: engines, the publisher of frames, checkpoints and heartbeats."""
