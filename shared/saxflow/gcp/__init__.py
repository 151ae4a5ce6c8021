"""The door to Google Cloud: clients for the cloud or for local endpoints, errors translated once."""
