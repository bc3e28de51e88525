"""`python -m ml`: corpus, training, export and the model registry from the command line."""

from ml.cli import main

if __name__ == "__main__":
    main()
