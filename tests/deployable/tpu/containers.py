"""What the test's image registry starts: a server that listens and tells what it was given."""

import json
import os
import socket
import sys

role, *args = sys.argv[1:]
told = {"role": role, "pid": os.getpid(), "args": args, "env": dict(os.environ)}
print(json.dumps(told), flush=True)
if role == "broken":
    sys.exit(9)
flags = dict(a.removeprefix("--").split("=", 1) for a in args)
port = int(os.environ["PORT"] if role == "admin" else flags["port"])
with socket.create_server((os.environ["SAXFLOW_VM_ADDRESS"], port)) as server:
    while True:
        server.accept()[0].close()
