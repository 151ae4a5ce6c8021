"""Serve plain Python classes as Google APIs, over gRPC and REST, with tables read off the clients."""
