"""Batch Task: convert a share of Llama weights to a Pax checkpoint."""

import sys

from saxflow.conversion.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
