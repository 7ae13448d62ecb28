"""`python -m ambiseg`."""

from .main import main

if __name__ == "__main__":
    main()
