"""Cloud TPU on one machine: a worker of a node is a virtual machine made of processes."""
