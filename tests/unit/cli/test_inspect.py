"""`saxflow inspect`: the plan of a conversion, as JSON and in words."""

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from google.cloud.storage import Bucket

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.gcp.clients import storage_client

FIELDS = [
    "source", "format", "shards", "dimensions", "dtype", "mesh", "fingerprint", "variables",
    "chunks", "objects", "bytes_read", "bytes_written", "largest_chunk_bytes", "memory_bytes",
    "tasks", "seconds", "source_dtypes", "ignored",
]  # fmt: skip


@pytest.fixture
def inspect(capsys):
    """Run the command; return exit code, stdout, stderr."""

    def command(*arguments):
        code = run(app, ["inspect", *map(str, arguments)])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def planned(inspect):
    """Run the command with --json; return the one line it prints, parsed."""

    def command(*arguments):
        code, out, err = inspect(*arguments, "--json")
        assert (code, err, out.count("\n")) == (0, "", 1)
        return json.loads(out)

    return command


@pytest.fixture(scope="module")
def meta(golden):
    return golden / "tiny_mha_2shards/meta"


def test_the_promised_fields(planned, meta):
    plan = planned(meta)
    assert list(plan) == FIELDS
    assert plan["source"] == str(meta)
    assert (plan["format"], plan["shards"], plan["ignored"]) == ("meta", 2, [])
    assert plan["dimensions"] == {
        "layers": 2, "model_dim": 64, "heads": 4, "kv_heads": 4, "head_dim": 16,
        "hidden_dim": 192, "vocab": 320, "norm_eps": 1e-5, "rope_theta": 10000.0,
    }  # fmt: skip
    assert plan["source_dtypes"] == {"bfloat16": 37}
    assert plan["bytes_read"] == plan["bytes_written"] == 295552
    assert plan["largest_chunk_bytes"] == 2 * 320 * 64
    assert plan["tasks"] == 1
    assert re.fullmatch("[0-9a-f]{12}", plan["fingerprint"])


def test_defaults_are_float16_for_one_chip(planned, meta):
    plan = planned(meta)
    assert (plan["dtype"], plan["mesh"]) == ("float16", 1)
    assert plan == planned(meta, "--dtype", "float16", "--mesh", "1", "--max-memory", "1GiB")


def test_dtype_and_mesh_make_another_checkpoint(planned, meta):
    plans = [
        planned(meta),
        planned(meta, "--dtype", "bfloat16"),
        planned(meta, "--mesh", "4"),
    ]
    assert len({plan["fingerprint"] for plan in plans}) == 3
    assert plans[1]["dtype"] == "bfloat16"
    assert plans[2]["mesh"] == 4
    assert plans[2]["chunks"] > plans[0]["chunks"]


def test_memory_decides_nothing_but_memory(planned, meta):
    small, large = planned(meta, "--max-memory", "64MiB"), planned(meta, "--max-memory", "4GiB")
    assert small["fingerprint"] == large["fingerprint"]
    assert small["memory_bytes"] < large["memory_bytes"]


def test_the_plan_in_words(inspect, meta):
    code, out, err = inspect(meta, "--mesh", "2")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["source"] == f"{meta}: meta, 2 shards, tensors 37 bfloat16"
    assert lines["model"] == "2 layers, D 64, 4 heads (4 kv), F 192, V 320"
    assert lines["bytes"] == "295.6 kB read, 295.6 kB written"
    assert lines["checkpoint"].startswith("17 variables, ")
    assert lines["checkpoint"].endswith("for 2 chips, float16")
    assert lines["Tasks"] == "1 in a deployment"
    assert re.fullmatch("[0-9a-f]{12}", lines["fingerprint"])
    assert re.fullmatch(r"about \d+ MiB", lines["memory"])
    assert re.fullmatch(r"about \d+ s on this machine alone", lines["time"])


def test_nothing_is_written(inspect, golden, tmp_path, monkeypatch):
    folder = shutil.copytree(golden / "tiny_mha_2shards/meta", tmp_path / "Gewichte été 😀")
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code, out, _ = inspect(folder.name, "--json")
    assert code == 0
    assert '"source": "Gewichte été 😀"' in out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "file://localhost{}"])
def test_every_way_to_name_a_directory(planned, meta, form):
    plan = planned(form.format(meta))
    assert plan["source"].rstrip("/") == str(meta)


@pytest.mark.parametrize(
    ("place", "code", "said"),
    [
        ("missing", 4, "{}/missing does not exist; give the directory of the weights"),
        ("empty", 4, "{}/empty holds no files; give the directory of the weights"),
        ("gguf", 3, "{}/gguf: llama.gguf is GGUF, which is not supported; give Meta's"),
        ("gguf/llama.gguf", 3, "{}/gguf/llama.gguf is a file; give a directory"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_sources_that_are_none(inspect, tmp_path, place, code, said, flags):
    (tmp_path / "empty").mkdir()
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf/llama.gguf").write_bytes(b"GGUF")
    found, out, err = inspect(tmp_path / place, *flags)
    assert found == code
    assert err.startswith(f"saxflow: {said.format(tmp_path)}")
    if flags:
        body = json.loads(out)
        assert body["exit_code"] == code
        assert err == f"saxflow: {body['error']}\n"
    else:
        assert out == ""


def test_other_schemes(inspect):
    code, out, err = inspect("s3://bucket/llama")
    assert (code, out) == (3, "")
    assert "'s3://bucket/llama' is neither a local path nor" in err


def test_memory_for_not_even_one_chunk(inspect, meta):
    code, out, err = inspect(meta, "--max-memory", "1MiB", "--json")
    assert code == 3
    assert "--max-memory 1MiB is too little for one chunk; give at least 33MiB" in err
    assert json.loads(out)["exit_code"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'SRC'"),
        (["a", "b"], "unexpected extra argument"),
        (["a", "--dtype", "float32"], "'float32' is not one of 'float16', 'bfloat16'"),
        (["a", "--mesh", "0"], "0 is not in the range 1<=x<=4096"),
        (["a", "--mesh", "4097"], "4097 is not in the range 1<=x<=4096"),
        (["a", "--mesh", "2.0"], "'2.0' is not a valid integer"),
        (["a", "--max-memory", "lots"], "'lots' is no size; write for example 512MiB or 2GiB"),
    ],
)
def test_usage(inspect, arguments, said):
    code, out, err = inspect(*arguments, "--json")
    assert code == 2
    assert said in err
    assert json.loads(out)["exit_code"] == 2


@pytest.fixture
def bucket(storage) -> Iterator[Bucket]:
    """The bucket `models`, through Google's client."""
    client = storage_client("local")
    yield client.bucket("models")
    client.close()


def test_weights_in_cloud_storage(planned, inspect, meta, bucket):
    for path in meta.iterdir():
        bucket.blob(f"llama/{path.name}").upload_from_filename(path)
    plan = planned("gs://models/llama/")
    assert plan["source"] == "gs://models/llama"
    assert plan["bytes_read"] == 295552
    assert inspect("gs://models/other")[0] == 4
    code, _, err = inspect("gs://nowhere/llama")
    assert code == 4
    assert err == ("saxflow: bucket gs://nowhere does not exist; create it or correct the name\n")
