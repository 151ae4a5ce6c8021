"""Cloud Storage: the JSON API, and as much of the XML API as object stores in the wild call."""
