"""A plan names everything, is the same whenever it is compiled, and fits what reads it."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from saxflow import bundled, layout, names
from saxflow.errors import ConfigurationError, InputError
from saxflow.manifest import Manifest
from saxflow.plan import Plan, WeightFacts, compile_plan, core_with_parts
from saxflow.sax.servable import Servable
from saxflow.settings import Settings
from saxflow.weights import Dimensions, fingerprint

GENERATION = "1700000000000000"
PINNED = {"startup_generation": "11", "servable_generation": "22"}


@pytest.fixture
def plan_of(
    settings: Settings,
    manifest_of: Callable[..., Manifest],
    facts_of: Callable[..., WeightFacts],
) -> Callable[..., Plan]:
    def build(
        size: str | Dimensions = "7b",
        attempt: int = 1,
        under: Settings = settings,
        **sections: Any,
    ) -> Plan:
        return compile_plan(
            manifest_of(**sections),
            under,
            generation=GENERATION,
            attempt=attempt,
            facts=facts_of(size),
            manifest_uri="gs://manifests/my-llama.yaml",
        )

    return build


def test_the_core(plan_of: Callable[..., Plan], facts_of: Callable[..., WeightFacts]) -> None:
    core = plan_of().core
    identifier = "sf-my-llama-gqll7vatq8-a1"
    assert core["id"] == core["job"]["id"] == core["tpu"]["id"] == identifier
    assert core["manifest"] == {"uri": "gs://manifests/my-llama.yaml", "generation": GENERATION}
    assert core["model"]["id"] == "/sax/test/llama27b"
    assert core["topic"] == "projects/proj/topics/saxflow-events"
    assert core["control"] == {
        "bucket": "control",
        "head": "deployments/my-llama/head.json",
        "prefix": f"deployments/my-llama/{GENERATION}/",
        "events": f"deployments/my-llama/{GENERATION}/events/",
    }
    facts = layout.layout_facts(4, "none")
    name = fingerprint(facts_of("7b").files, dtype="float16", layout=facts)
    checkpoint = core["checkpoint"]
    assert checkpoint["fingerprint"] == name
    assert checkpoint["directory"] == f"sax_models/llama2/saxml_llama27b/{name}"
    assert checkpoint["step"] == f"{checkpoint['uri']}/checkpoint_00000000"
    assert [m["name"].removeprefix(checkpoint["directory"]) for m in checkpoint["markers"]] == [
        "/checkpoint_00000000/metadata/commit_success.txt",
        "/checkpoint_00000000/state/commit_success.txt",
        "/checkpoint_00000000/commit_success.txt",
    ]
    assert checkpoint["markers"][2]["text"].endswith(f" {checkpoint['step']}")
    assert core["tpu"]["parents"] == ["projects/proj/locations/us-central1-a"]
    assert core["cell"]["sax_root"] == "gs://cells/my-llama/gqll7vatq8-a1/sax-root"
    assert core["lifecycle"]["ttl_seconds"] == 28800
    assert core["deadlines"]["active_without_checkpoint"] == 900


def test_attempts_share_the_checkpoint_and_nothing_else(plan_of: Callable[..., Plan]) -> None:
    first, second = plan_of().core, plan_of(attempt=2).core
    assert first["checkpoint"] == second["checkpoint"]
    assert first["cell"]["root"] != second["cell"]["root"]
    assert first["job"]["id"] != second["job"]["id"]


def test_dtype_and_mesh_have_their_own_directories(plan_of: Callable[..., Plan]) -> None:
    prints = {
        plan.core["checkpoint"]["fingerprint"]
        for plan in (
            plan_of(),
            plan_of(model={"dtype": "bfloat16"}),
            plan_of(tpu={"acceleratorType": "v5litepod-8"}),
        )
    }
    assert len(prints) == 3


def test_compiling_again_changes_nothing(plan_of: Callable[..., Plan]) -> None:
    one, other = plan_of(), plan_of()
    assert one.core == other.core
    assert one.parts == other.parts
    assert one.tpu_part(**PINNED) == other.tpu_part(**PINNED)


def test_the_servable_is_one_to_whoever_reads_it(plan_of: Callable[..., Plan]) -> None:
    found = Servable.from_json(plan_of("70b").parts["servable.json"])
    assert (found.mesh, found.kv_heads, found.stream) == ((1, 1, 16), 8, False)
    assert found.model_path == "saxml.server.pax.lm.params.saxflow.Llama"
    assert found.compute_dtype == "bfloat16"


def test_a_stock_class_is_a_servable_too(plan_of: Callable[..., Plan]) -> None:
    path = "saxml.server.pax.lm.params.lm_cloud.LLaMA7BFP16TPUv5e"
    plan = plan_of(serve={"modelPath": path, "maxInputTokens": 128, "maxNewTokens": 32})
    assert Servable.from_json(plan.parts["servable.json"]).class_name == "LLaMA7BFP16TPUv5e"
    assert json.loads(plan.parts["publish.json"])["model_path"] == path


def test_what_is_published(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("70b")
    found = json.loads(plan.parts["publish.json"])
    assert found["checkpoint"] == plan.core["checkpoint"]["step"]
    assert (found["chip"], found["topology"], found["replicas"]) == ("TPU_V5E", "16", 1)
    assert re.fullmatch(r"(/|\d|\w|_|\.|-|%|:|=|\|)+", found["checkpoint"])


def test_the_worker_is_told_everything(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(weights={"source": "gs://models/llama/", "sha256": {"params.json": "0" * 64}})
    job = json.loads(plan.parts["job.json"])
    commands = job["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]["commands"]
    told = dict(zip(commands[::2], commands[1::2], strict=True))
    assert told["--source"] == "gs://models/llama"
    assert told["--destination"] == plan.core["checkpoint"]["uri"]
    assert json.loads(told["--sha256"]) == {"params.json": "0" * 64}


def test_nodes_are_told_where_to_start_from(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of()
    (body,) = json.loads(plan.tpu_part(**PINNED))["bodies"].values()
    metadata = body["tpu"]["nodeSpec"][0]["node"]["metadata"]
    assert metadata["startup-script"] == bundled.text("tpu/bootstrap.sh")
    config = json.loads(metadata["saxflow-config"])
    startup = plan.parts["startup.sh"]
    assert config["startup"] == {
        "uri": f"gs://control/deployments/my-llama/{GENERATION}/startup.sh",
        "generation": "11",
        "sha256": hashlib.sha256(startup).hexdigest(),
    }
    assert config["servable"]["generation"] == "22"
    assert config["cell_prefix"] == plan.core["cell"]["root"]
    assert (config["chip"], config["topology"]) == ("tpuv5e", "4")
    assert config["storage_root"] == "https://storage.googleapis.com"


def test_every_resource_carries_the_labels(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of()
    job = json.loads(plan.parts["job.json"])
    (body,) = json.loads(plan.tpu_part(**PINNED))["bodies"].values()
    labels = body["tpu"]["nodeSpec"][0]["node"]["labels"]
    assert labels == job["labels"] == job["allocationPolicy"]["labels"]
    assert labels["deployment"] == "my-llama"
    assert labels["saxflow-plan"]


def test_one_body_a_zone(plan_of: Callable[..., Plan]) -> None:
    zones = ["us-central1-a", "us-west4-a"]
    plan = plan_of(tpu={"zones": zones, "allowCrossRegion": True})
    bodies = json.loads(plan.tpu_part(**PINNED))["bodies"]
    assert list(bodies) == zones
    for zone, parent in zip(zones, plan.core["tpu"]["parents"], strict=True):
        assert bodies[zone]["tpu"]["nodeSpec"][0]["parent"] == parent


def test_the_core_names_its_parts(plan_of: Callable[..., Plan]) -> None:
    place = {"name": "deployments/x/1/job.json", "generation": "5", "sha256": "0" * 64}
    stored = json.loads(core_with_parts(plan_of().core, {"job.json": place}))
    assert stored["parts"] == {"job.json": place}
    assert stored["id"] == plan_of().id


def test_local_endpoints_and_scaled_deadlines(
    settings_of: Callable[..., Settings], plan_of: Callable[..., Plan]
) -> None:
    settings = settings_of(
        STORAGE_EMULATOR_HOST="http://127.0.0.1:1",
        SAXFLOW_REST_ENDPOINT="http://127.0.0.1:2/",
        SAXFLOW_DEADLINE_SCALE="0.1",
        SAXFLOW_POLL_SECONDS="0.2",
    )
    core = plan_of(under=settings).core
    assert core["apis"]["storage"] == "http://127.0.0.1:1"
    assert core["apis"]["batch"] == "http://127.0.0.1:2"
    assert core["intervals"]["poll"] == 0.2
    assert core["deadlines"]["active_without_checkpoint"] == 90


def test_missing_settings_are_the_operators(
    settings_of: Callable[..., Settings], plan_of: Callable[..., Plan]
) -> None:
    settings = settings_of(SAXFLOW_ADMIN_IMAGE="", SAXFLOW_COMMIT_URL="")
    with pytest.raises(ConfigurationError, match="SAXFLOW_ADMIN_IMAGE, SAXFLOW_COMMIT_URL not set"):
        plan_of(under=settings)


def test_parts_that_a_workflow_cannot_read_are_refused(
    plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saxflow.plan.compile.MAX_PART_BYTES", 1000)
    with pytest.raises(InputError, match=r"job\.json has \d+ bytes"):
        plan_of()


def test_what_is_printed(plan_of: Callable[..., Plan]) -> None:
    found = plan_of().describe()
    assert json.loads(json.dumps(found)) == found
    assert found["hourly_usd"] == 4.8
    assert found["hbm_bytes_per_chip"]["available"] == 16_000_000_000


@given(name=st.from_regex(names.NAME_PATTERN, fullmatch=True), generation=st.integers(1, 2**63 - 1))
@effort(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_every_legal_name_gets_legal_resources(
    name: str,
    generation: int,
    settings: Settings,
    manifest_of: Callable[..., Manifest],
    facts_of: Callable[..., WeightFacts],
    tiny: Dimensions,
) -> None:
    plan = compile_plan(
        manifest_of(name),
        settings,
        generation=str(generation),
        attempt=1,
        facts=facts_of(tiny),
        manifest_uri="gs://m/o",
    )
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", plan.id)
    assert all(len(part) <= 65536 for part in plan.parts.values())


def test_scripts_are_read_from_the_bundle() -> None:
    assert Path(bundled.path("tpu/startup.sh")).is_file()
