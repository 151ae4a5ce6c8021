import pytest

from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.convert import Conversion
from saxflow.conversion.estimate import estimate, tasks_for
from saxflow.conversion.report import Spec
from saxflow.layout import objects


@pytest.fixture
def work(tmp_path, tiny):
    files = LocalDirectory(tiny)
    return Conversion(files, read_source(files), LocalDirectory(tmp_path), Spec(mesh=2))


def test_the_plan_in_numbers(work, kit):
    plan = estimate(work)
    assert plan.fingerprint == work.fingerprint
    assert plan.bytes_read == 2 * kit.GQA.parameters
    assert plan.bytes_written >= 2 * kit.GQA.parameters
    assert plan.objects == len(list(objects(kit.GQA, "float16", 2, "none")))
    assert plan.source_dtypes.keys() == {"bfloat16"}
    assert plan.as_dict()["dimensions"]["kv_heads"] == 2
    assert any(line.startswith("Tasks") for line in plan.lines())


@pytest.mark.parametrize(
    ("size", "tasks"), [(0, 1), (16 << 30, 1), ((16 << 30) + 1, 2), (1 << 40, 8)]
)
def test_one_task_for_each_16_gib_and_at_most_eight(size, tasks):
    assert tasks_for(size) == tasks
