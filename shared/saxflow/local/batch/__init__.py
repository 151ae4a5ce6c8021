"""Cloud Batch on one machine: Tasks are processes."""
