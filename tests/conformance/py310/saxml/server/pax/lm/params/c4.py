"""Stand-in: a params module that has nothing to do with Llama."""
