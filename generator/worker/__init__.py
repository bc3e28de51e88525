"""What a Celery worker does with a text: it claims the row, asks an engine for characters, publishes and saves them."""
