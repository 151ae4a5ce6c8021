"""What functions do: accept and remove manifests, account, publish, reconcile.

No state lives here: every function reads the head, acts idempotently and forgets. Entry points in
`functions/` are thin; each calls one module of this package.
"""
