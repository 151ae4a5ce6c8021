"""A virtual machine on a laptop: a process tree with an address, a metadata server and a docker."""
