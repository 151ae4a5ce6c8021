"""A SAX cell for a laptop: admin server, model server and Llama in JAX.

It speaks SAX's own wire protocol, so that real SAX tools can talk to it and saxflow's client cannot
tell it from a cell on Cloud TPU.
"""
