"""Pub/Sub: topics, subscriptions with filters and ordering, pull, streaming pull and push."""
