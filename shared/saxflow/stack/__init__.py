"""saxflow set up on a cloud: functions staged for upload, and the whole of it on a laptop.

Here alone are the embedded cloud and saxflow's own parts put together.
"""
