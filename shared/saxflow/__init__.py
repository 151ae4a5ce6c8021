"""saxflow: drop a weights manifest in a bucket, get a Llama served by SAX on Cloud TPU."""

__version__ = "0.1.0"
