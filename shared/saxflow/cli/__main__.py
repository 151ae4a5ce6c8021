"""`python -m saxflow.cli`, for processes that start themselves again."""

from saxflow.cli import main

if __name__ == "__main__":
    main()
