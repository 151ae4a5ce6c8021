"""A converter that converts nothing: it uploads what the real one wrote, object by object.

It keeps the worker's manners (create-only objects, a record of what it owns) and starts in a tenth
of its time, so that journeys can be repeated by the hundred.

    python converter.py DIRECTORY --destination gs://BUCKET/PREFIX ...
"""

import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ATTEMPTS = 5


def upload(root: str, bucket: str, name: str, data: bytes) -> None:
    query = urllib.parse.urlencode({"uploadType": "media", "name": name, "ifGenerationMatch": 0})
    url = f"{root}/upload/storage/v1/b/{bucket}/o?{query}"
    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method="POST")
    for attempt in range(ATTEMPTS):
        try:
            urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            if error.code == 412:
                return
            if attempt == ATTEMPTS - 1:
                raise
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


def main() -> None:
    source, flags = Path(sys.argv[1]), sys.argv[2:]
    destination = flags[flags.index("--destination") + 1].removeprefix("gs://")
    bucket, _, prefix = destination.partition("/")
    for path in sorted(source.rglob("*")):
        if path.is_file():
            name = f"{prefix}/{path.relative_to(source).as_posix()}"
            upload(os.environ["STORAGE_EMULATOR_HOST"], bucket, name, path.read_bytes())


main()
