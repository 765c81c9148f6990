"""`python -m switchyard`."""

from switchyard import main

if __name__ == "__main__":
    main()
