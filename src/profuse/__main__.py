"""`python -m profuse` is `profuse`."""

from profuse.cli import main

if __name__ == "__main__":
    main()
