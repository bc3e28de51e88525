#!/usr/bin/env python
"""Django's command line for CharRNN Live."""

import os
import sys


def main() -> None:
    """Run a command. Settings that cannot be used are one sentence, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "charrnn_site.settings")
    try:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        sys.exit(
            f"{error}; install the requirements first (`make run` does) and use .venv/bin/python."
        )
    try:
        _ = settings.DATA_DIR  # reads the environment
    except (ImproperlyConfigured, OSError) as error:
        sys.exit(f"CharRNN Live cannot start: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
