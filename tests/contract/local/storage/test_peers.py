"""TensorStore and obstore, which bring their own storage clients, against the embedded server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import GCSStore

from .servers import Cloud


@pytest.fixture
def store(cloud: Cloud) -> GCSStore:
    return GCSStore(
        "buck",
        config={"base_url": cloud.url},
        client_options={"allow_http": True},
        credential_provider=lambda: {"token": "none", "expires_at": None},
    )


def test_obstore_puts_gets_and_lists(store: GCSStore) -> None:
    obstore.put(store, "a/é 1", b"0123456789")
    assert bytes(obstore.get(store, "a/é 1").bytes()) == b"0123456789"
    assert bytes(obstore.get_range(store, "a/é 1", start=2, end=5)) == b"234"
    obstore.put(store, "b", b"")
    assert [each["path"] for page in obstore.list(store) for each in page] == ["a/é 1", "b"]
    listing = obstore.list_with_delimiter(store)
    assert listing["common_prefixes"] == ["a"]
    assert obstore.head(store, "a/é 1")["size"] == 10


def test_obstore_creates_once(store: GCSStore) -> None:
    obstore.put(store, "once", b"1", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "once", b"2", mode="create")


def test_obstore_multipart_copy_rename_delete(store: GCSStore) -> None:
    data = os.urandom(12 << 20)
    obstore.put(store, "big", data)
    assert bytes(obstore.get(store, "big").bytes()) == data
    obstore.copy(store, "big", "copy")
    obstore.rename(store, "copy", "renamed")
    assert obstore.head(store, "renamed")["size"] == len(data)
    obstore.delete(store, ["big", "renamed"])
    assert [each for page in obstore.list(store) for each in page] == []
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "big")


TENSORSTORE = """
import json, sys
import numpy as np
import tensorstore as ts

kvstore = {"driver": "gcs", "bucket": "buck", "path": "dir/"}
for driver, base in (("zarr", kvstore), ("zarr", {"driver": "ocdbt", "base": kvstore})):
    spec = {"driver": driver, "kvstore": base}
    metadata = {"shape": [60, 50], "chunks": [20, 50], "dtype": "<f2", "compressor": None}
    array = ts.open(spec | {"metadata": metadata}, create=True, delete_existing=True).result()
    values = np.arange(3000, dtype=np.float16).reshape(60, 50)
    array.write(values).result()
    again = ts.open(spec, open=True).result().read().result()
    assert np.array_equal(again, values)
store = ts.KvStore.open(kvstore).result()
assert store.read("absent").result().state == "missing"
first = store.write("key", b"1").result().generation
stale = store.write("key", b"2", if_equal=b"").result()
print(json.dumps(sorted(key.decode() for key in store.list().result() if b"/" not in key)))
"""


def test_tensorstore_reads_and_writes(cloud: Cloud) -> None:
    environ = {
        **os.environ,
        "TENSORSTORE_GCS_HTTP_URL": cloud.url,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
        "GCE_METADATA_ROOT": "127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-c", TENSORSTORE], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert {".zarray", "0.0", "1.0", "2.0", "key", "manifest.ocdbt"} <= set(listed)
