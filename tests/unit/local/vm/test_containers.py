"""The container engine."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from saxflow.errors import BusyError, InputError, NotFoundError
from saxflow.local.vm.containers import Container, new_id, timestamp


def container(name, *args, image="sh", **fields):
    return Container(id=new_id(), name=name, image=image, args=list(args), **fields)


def test_container_is_a_process_with_environment_mounts_and_log(engine):
    started = engine.run(
        container(
            "c", "echo $BASE $A $SAXFLOW_CONTAINER_MOUNTS", env={"A": "a"}, mounts={"/m": "/h"}
        )
    )
    assert started.running
    assert engine.wait("c") == 0
    assert engine.log(started).read_text() == 'base a {"/m": "/h"}\n'
    assert engine.find("c").status == "exited"


def test_exit_codes_and_kill(engine):
    engine.run(container("c", "exit 9"))
    assert engine.wait("c") == 9
    engine.run(container("d", "600", image="sleep"))
    engine.kill("d")
    assert engine.find("d").exit_code == 137


def test_stop_is_polite_within_the_grace(engine):
    engine.run(container("c", "trap 'exit 5' TERM; while true; do sleep 0.01; done"))
    engine.stop("c")
    assert engine.wait("c") in (5, 143)


def test_stop_kills_after_the_grace(engine, eventually):
    engine.run(container("c", "trap '' TERM; echo up; while true; do sleep 0.01; done"))
    eventually(lambda: engine.log(engine.find("c")).read_text() == "up\n")
    engine.stop("c", grace_seconds=0.1)
    assert engine.find("c").exit_code == 137


def test_names_are_taken_until_removed(engine):
    engine.run(container("c", "600", image="sleep"))
    with pytest.raises(BusyError, match="already in use"):
        engine.run(container("c", "true"))
    with pytest.raises(BusyError, match="is running"):
        engine.remove("c", force=False)
    engine.remove("c", force=True)
    with pytest.raises(NotFoundError):
        engine.find("c")
    engine.run(container("c", "true"))


def test_found_by_name_or_by_the_beginning_of_the_id(engine):
    started = engine.run(container("c", "true"))
    assert engine.find("/c").id == engine.find(started.id[:12]).id == started.id


def test_unknown_image_and_empty_command(engine):
    with pytest.raises(NotFoundError, match="manifest unknown"):
        engine.run(container("c", image="none"))
    with pytest.raises(InputError, match="no command"):
        engine.run(container("d", entrypoint=""))
    assert engine.list() == []


def ended_after(engine, name, restarts):
    found = engine.find(name)
    return found.restart_count == restarts and found.status == "exited"


def test_restart_policies(engine, tmp_path, eventually):
    once = f"test -e {tmp_path}/again || {{ touch {tmp_path}/again; exit 1; }}"
    engine.run(container("c", once, restart="on-failure"))
    eventually(lambda: ended_after(engine, "c", restarts=1))
    assert engine.find("c").exit_code == 0
    engine.run(container("d", "exit 1", restart="on-failure:1"))
    eventually(lambda: ended_after(engine, "d", restarts=1))
    assert engine.find("d").exit_code == 1


def test_killed_container_is_not_restarted(engine):
    engine.run(container("c", "600", image="sleep", restart="always"))
    engine.kill("c")
    assert engine.find("c").status == "exited"


def test_reboot_leaves_records_and_brings_back_what_the_policy_says(make_engine, tmp_path):
    before = make_engine()
    before.run(container("plain", "600", image="sleep"))
    before.run(container("always", "600", image="sleep", restart="always"))
    before.run(container("stopped", "600", image="sleep", restart="unless-stopped"))
    before.kill("stopped")
    records = {c.name: c for c in before.list()}
    for name in ("plain", "always"):
        before.kill(name)
        record = replace(records[name], stopped_by_user=False).__dict__
        (tmp_path / f"containers/{name}.json").write_text(json.dumps(record))
    after = make_engine()
    assert {c.name: c.status for c in after.list()} == dict.fromkeys(records, "exited")
    after.boot()
    assert {c.name: c.running for c in after.list()} == {
        "plain": False,
        "always": True,
        "stopped": False,
    }


def left_behind(make_engine, tmp_path, **fields):
    """Return an engine that finds the record of one container, as after a reboot."""
    directory = tmp_path / "containers"
    directory.mkdir()
    left = container("c", "exit 1", created=timestamp(), **fields)
    (directory / "c.json").write_text(json.dumps(asdict(left)))
    return make_engine()


@pytest.mark.parametrize("status", ["running", "restarting"])
def test_what_no_policy_brings_back_has_ended(make_engine, tmp_path, status):
    engine = left_behind(make_engine, tmp_path, status=status, restart="on-failure")
    engine.boot()
    assert engine.find("c").status == "exited"


def test_what_removes_itself_is_gone_after_a_reboot(make_engine, tmp_path):
    engine = left_behind(make_engine, tmp_path, status="running", auto_remove=True)
    engine.boot()
    assert engine.list() == []


@pytest.mark.parametrize("broken", [{"image": "gone"}, {"workdir": "/no/such"}])
def test_boot_goes_on_without_what_cannot_start(make_engine, tmp_path, broken):
    engine = left_behind(make_engine, tmp_path, status="running", restart="always", **broken)
    engine.boot()
    assert engine.find("c").status == "exited"
    assert next(iter(broken.values())) in engine.log(engine.find("c")).read_text()


def test_thousands_of_restarts_do_not_end_the_next(make_engine, tmp_path, eventually):
    engine = left_behind(
        make_engine, tmp_path, status="restarting", restart="always", restart_count=5000
    )
    engine.boot()
    eventually(lambda: engine.find("c").status == "restarting")
    assert engine.find("c").restart_count == 5001


def test_stop_ends_the_wait_for_a_restart(engine, eventually):
    engine.run(container("c", "exit 1", restart="always", restart_count=20))
    eventually(lambda: engine.find("c").status == "restarting")
    engine.stop("c")
    assert engine.find("c").status == "exited"


def test_what_removes_itself_can_be_killed_stopped_and_removed(engine):
    for act in (engine.kill, engine.stop, lambda name: engine.remove(name, force=True)) * 5:
        engine.run(container("c", "600", image="sleep", auto_remove=True))
        act("c")
        assert engine.list() == []


def test_run_to_its_end_tells_what_it_wrote(engine):
    assert engine.run_to_end(container("c", "echo out; exit 3")) == (3, "out\n")
    assert engine.wait("c") == 3


def test_auto_remove_keeps_the_exit_code_and_the_log_for_who_waits(engine):
    removed = container("c", "echo out; exit 4", auto_remove=True)
    assert engine.run_to_end(removed) == (4, "out\n")
    with pytest.raises(NotFoundError):
        engine.find("c")


def test_pulled_images_and_start(engine):
    engine.pull("sh")
    assert engine.images() == ["sh"]
    engine.run(container("c", "true"))
    engine.wait("c")
    engine.start("c")
    assert engine.wait("c") == 0
    assert engine.environment(engine.find("c"))["BASE"] == "base"


def test_timestamps_are_utc():
    assert timestamp().endswith("Z")
