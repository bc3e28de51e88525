"""Model versions: reading, checking, loading and writing them, their registry and their quality."""
