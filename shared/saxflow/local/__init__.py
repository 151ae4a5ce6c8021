"""The embedded Google Cloud: the services the pipeline uses, in one process tree, on loopback."""
