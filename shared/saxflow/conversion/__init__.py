"""Conversion: inspect a source, plan chunks, run a Task, resume, verify."""
