"""Books: fetched from Project Gutenberg, cleaned, and packed into the corpus for training."""
