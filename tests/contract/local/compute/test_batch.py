"""Cloud Batch as Google's client sees it."""

from __future__ import annotations

import json
import os

import pytest
from google.api_core import exceptions
from google.cloud import batch_v1

REGION = "projects/p/locations/us-central1"
RETRY_TRANSIENT = {
    "max_retry_count": 2,
    "lifecycle_policies": [
        {"action": "RETRY_TASK", "action_condition": {"exit_codes": [6, 50001]}}
    ],
}


def script(text, **fields):
    return {"script": {"text": text}, **fields}


def test_tasks_run_as_the_image_with_their_index(compute, image):
    runnable = {"container": {"image_uri": image, "commands": ["--x", "a b"]}}
    job = compute.ended(compute.job("sf-a", runnable, task_count=3, parallelism=2))
    assert job.status.state.name == "SUCCEEDED"
    assert dict(job.status.task_groups["group0"].counts) == {"SUCCEEDED": 3}
    arguments, env = json.loads(compute.log("sf-a", 2))
    assert arguments == ["--x", "a b"]
    assert (env["BATCH_TASK_INDEX"], env["BATCH_TASK_COUNT"]) == ("2", "3")
    assert (env["BATCH_JOB_ID"], env["BATCH_JOB_UID"]) == ("sf-a", job.uid)
    listed = list(compute.batch.list_tasks(parent=f"{job.name}/taskGroups/group0"))
    assert [t.status.state.name for t in listed] == ["SUCCEEDED"] * 3


def test_states_are_told_in_order(compute):
    job = compute.ended(compute.job("sf-a", script("true")))
    words = [event.description.split() for event in job.status.status_events]
    steps = [(w[5], w[7]) for w in words]
    assert steps == [("QUEUED", "SCHEDULED"), ("SCHEDULED", "RUNNING"), ("RUNNING", "SUCCEEDED")]
    assert job.status.run_duration.total_seconds() > 0


def test_same_id_is_a_conflict_and_same_request_is_the_same_job(compute):
    job = {"task_groups": [{"task_spec": {"runnables": [script("true")]}}]}
    request = batch_v1.CreateJobRequest(
        parent=REGION, job_id="sf-a", job=job, request_id="6a1e7ad5-3b0c-4b7e-9c68-0a2b41c10000"
    )
    first = compute.batch.create_job(request)
    assert compute.batch.create_job(request).uid == first.uid
    request.request_id = "6a1e7ad5-3b0c-4b7e-9c68-0a2b41c10001"
    with pytest.raises(exceptions.Conflict, match="already exists"):
        compute.batch.create_job(request)


def test_listed_exit_codes_are_retried_and_then_fail(compute):
    job = compute.ended(compute.job("sf-a", script("exit 6"), spec=RETRY_TRANSIENT))
    assert job.status.state.name == "FAILED"
    assert compute.events(job) == [("FAILED", 6)] * 3
    assert "exit code 6" in job.status.status_events[-1].description


def test_other_exit_codes_fail_at_once(compute):
    job = compute.ended(compute.job("sf-a", script("exit 3"), spec=RETRY_TRANSIENT))
    assert compute.events(job) == [("FAILED", 3)]


def test_fail_task_lists_what_is_not_retried(compute):
    policy = {"action": "FAIL_TASK", "action_condition": {"exit_codes": [3]}}
    spec = {"max_retry_count": 1, "lifecycle_policies": [policy]}
    assert compute.events(compute.ended(compute.job("a", script("exit 3"), spec=spec))) == [
        ("FAILED", 3)
    ]
    assert (
        compute.events(compute.ended(compute.job("b", script("exit 4"), spec=spec)))
        == [("FAILED", 4)] * 2
    )


def test_without_policy_every_failure_is_retried(compute):
    text = "test $BATCH_TASK_RETRY_ATTEMPT = 1"
    job = compute.ended(compute.job("sf-a", script(text), spec={"max_retry_count": 1}))
    assert job.status.state.name == "SUCCEEDED"
    assert compute.events(job) == [("FAILED", 1), ("SUCCEEDED", 0)]


def test_preemption_is_50001_and_retried(compute):
    compute.outcomes.arm("preempt", contains="/jobs/sf-a/", after_seconds=0.1)
    text = "test $BATCH_TASK_RETRY_ATTEMPT = 1 || sleep 600"
    job = compute.ended(compute.job("sf-a", script(text), spec=RETRY_TRANSIENT))
    assert compute.events(job) == [("FAILED", 50001), ("SUCCEEDED", 0)]


@pytest.mark.parametrize("where", ["task", "runnable"])
def test_running_too_long_is_50005(compute, where):
    limit = {"seconds": 0, "nanos": 200_000_000}
    spec = {"max_run_duration": limit} if where == "task" else {}
    fields = {"timeout": limit} if where == "runnable" else {}
    job = compute.ended(compute.job("sf-a", script("sleep 600", **fields), spec=spec))
    assert compute.events(job) == [("FAILED", 50005)]


def test_runnables_obey_their_flags(compute, tmp_path):
    up = tmp_path / "up"  # what runs in the background is up when the foreground breaks
    job = compute.ended(
        compute.job(
            "sf-a",
            script("echo ignored; exit 9", ignore_exit_status=True),
            script(f"echo background; touch {up}; sleep 600", background=True),
            script(f"while ! test -e {up}; do sleep 0.01; done; echo breaks; exit 5"),
            script("echo skipped"),
            script("echo cleanup", always_run=True),
        )
    )
    assert compute.events(job) == [("FAILED", 5)]
    assert sorted(compute.log("sf-a").split()) == ["background", "breaks", "cleanup", "ignored"]


def test_scripts_with_a_first_line_of_their_own_and_by_path(compute, tmp_path):
    file = tmp_path / "by-path.sh"
    file.write_text("echo by path\n")
    job = compute.job("sf-a", script("#!/bin/bash\necho ${BASH_VERSION:+bash}"))
    compute.ended(job)
    compute.ended(compute.job("sf-b", {"script": {"path": str(file)}}))
    assert compute.log("sf-a") == "bash\n"
    assert compute.log("sf-b") == "by path\n"


def test_variables_of_task_and_runnable(compute):
    runnable = script("echo $A $B", environment={"variables": {"B": "2"}})
    compute.ended(compute.job("sf-a", runnable, spec={"environment": {"variables": {"A": "1"}}}))
    assert compute.log("sf-a") == "1 2\n"


def test_variables_of_each_task_decide_their_count(compute):
    environments = [{"variables": {"N": "x"}}, {"variables": {"N": "y"}}]
    compute.ended(compute.job("sf-a", script("echo $N"), task_environments=environments))
    assert [compute.log("sf-a", i) for i in (0, 1)] == ["x\n", "y\n"]


def test_barrier_holds_until_every_task_is_there(compute, tmp_path):
    job = compute.job(
        "sf-a",
        script(f"sleep 0.$BATCH_TASK_INDEX; touch {tmp_path}/here-$BATCH_TASK_INDEX"),
        {"barrier": {"name": "all"}},
        script(f"ls {tmp_path} | grep -c here-"),
        task_count=3,
        parallelism=3,
    )
    compute.ended(job)
    assert [compute.log("sf-a", i) for i in range(3)] == ["3\n"] * 3


def test_unknown_image_fails_the_task_with_its_name(compute):
    job = compute.ended(compute.job("sf-a", {"container": {"image_uri": "nowhere/x:1"}}))
    assert compute.events(job) == [("FAILED", 125)]
    assert "manifest for nowhere/x:1 not found" in compute.log("sf-a")


def test_failed_task_leaves_the_pending_ones_unexecuted(compute):
    job = compute.ended(compute.job("sf-a", script("exit 3"), task_count=4, parallelism=1))
    assert dict(job.status.task_groups["group0"].counts) == {"FAILED": 1, "UNEXECUTED": 3}


def test_cancel_kills_everything_and_keeps_the_job(compute, tmp_path, eventually):
    job = compute.job("sf-a", script(f"(setsid sleep 600 & echo $! > {tmp_path}/pid); sleep 600"))
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    compute.batch.cancel_job(name=job.name).result(timeout=60)
    assert compute.batch.get_job(name=job.name).status.state.name == "CANCELLED"
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")
    with pytest.raises(exceptions.GoogleAPICallError, match="already ended"):
        compute.batch.cancel_job(name=job.name)


def test_delete_kills_and_forgets_but_keeps_the_log(compute, eventually):
    job = compute.job("sf-a", script("echo here; sleep 600"))
    eventually(lambda: (compute.data / "batch/sf-a/task-0.log").exists())
    eventually(lambda: compute.log("sf-a") == "here\n")
    compute.batch.delete_job(name=job.name).result(timeout=60)
    with pytest.raises(exceptions.NotFound):
        compute.batch.get_job(name=job.name)
    assert compute.log("sf-a") == "here\n"
    assert compute.ended(compute.job("sf-a", script("true"))).status.state.name == "SUCCEEDED"


def test_held_job_stays_queued_until_released_or_cancelled(compute):
    compute.outcomes.arm("hold", contains="sf-")
    held, cancelled = compute.job("sf-a", script("true")), compute.job("sf-b", script("true"))
    assert compute.batch.get_job(name=held.name).status.state.name == "QUEUED"
    compute.batch.cancel_job(name=cancelled.name).result(timeout=60)
    compute.outcomes.release()
    assert compute.ended(held).status.state.name == "SUCCEEDED"
    assert compute.batch.get_job(name=cancelled.name).status.state.name == "CANCELLED"


def test_job_can_fail_without_any_task(compute):
    compute.outcomes.arm("fail", message="no capacity in us-central1-a")
    job = compute.ended(compute.job("sf-a", script("true")))
    assert "no capacity" in job.status.status_events[-1].description


def test_quota_is_429(compute):
    compute.outcomes.arm("quota", message="Quota 'CPUS' exceeded")
    with pytest.raises(exceptions.TooManyRequests, match="CPUS"):
        compute.job("sf-a", script("true"))


def test_list_comes_in_pages(compute):
    for name in ("a", "b", "c"):
        compute.job(name, script("true"))
    pager = compute.batch.list_jobs(batch_v1.ListJobsRequest(parent=REGION, page_size=2))
    assert [len(page.jobs) for page in pager.pages] == [2, 1]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task_spec": {}}, "at least one runnable"),
        ({"task_spec": {"runnables": [{"display_name": "x"}]}}, "container, script or barrier"),
        ({"task_spec": {"runnables": [script("true")], "max_retry_count": 11}}, "0 to 10"),
        ({"task_spec": {"runnables": [{"container": {}}]}}, "image_uri"),
        ({"task_spec": {"runnables": [{"barrier": {}}]}, "task_count": 2, "parallelism": 1},
         "barrier"),
    ],
)  # fmt: skip
def test_bad_jobs_are_refused_by_field(compute, change, problem):
    with pytest.raises(exceptions.BadRequest, match=problem):
        compute.batch.create_job(parent=REGION, job_id="a", job={"task_groups": [change]})


def test_bad_ids_places_and_groups_are_refused(compute):
    group = {"task_spec": {"runnables": [script("true")]}}
    for job_id, job in (
        ("Bad_Id", {"task_groups": [group]}),
        ("a", {"task_groups": [group, group]}),
        ("a", {"task_groups": [group], "priority": 100}),
        (
            "a",
            {
                "task_groups": [group],
                "allocation_policy": {"location": {"allowed_locations": ["regions/europe-west4"]}},
            },
        ),
    ):
        with pytest.raises(exceptions.BadRequest):
            compute.batch.create_job(parent=REGION, job_id=job_id, job=job)


def test_unknown_names_are_404(compute):
    for call in (
        lambda: compute.batch.get_job(name=f"{REGION}/jobs/none"),
        lambda: compute.batch.delete_job(name=f"{REGION}/jobs/none"),
        lambda: compute.batch.get_task(name=f"{REGION}/jobs/none/taskGroups/group0/tasks/0"),
    ):
        with pytest.raises(exceptions.NotFound):
            call()
