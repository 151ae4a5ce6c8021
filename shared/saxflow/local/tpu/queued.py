"""A QueuedResource and the thread that takes it from CREATING to its end.

Source: google/cloud/tpu/v2/cloud_tpu.proto; https://cloud.google.com/tpu/docs/queued-resources
"""

from __future__ import annotations

import threading
from typing import Any

from google.cloud.tpu_v2 import QueuedResource, QueuedResourceState
from google.rpc import code_pb2, status_pb2

from saxflow.errors import ConfigurationError
from saxflow.local.messages import copied, timestamp
from saxflow.local.surroundings import Surroundings
from saxflow.local.tpu.nodes import NodeRun
from saxflow.local.tpu.states import DATA_FIELDS, DELETABLE, TRANSITIONS, NodeState, State
from saxflow.local.tpu.validation import valid_seconds

_INITIATOR = QueuedResourceState.StateInitiator


class QueuedRun:
    """One request for TPUs.

    Args:
        resource: the message, with its full name.
        surroundings: of the cloud; its outcomes `hold` the request in WAITING_FOR_RESOURCES,
            `fail` it while PROVISIONING, `preempt` it when ACTIVE.
    """

    def __init__(self, resource: QueuedResource, surroundings: Surroundings) -> None:
        self._resource = resource
        self._around = surroundings
        self._changed = threading.Condition()
        self._ending = threading.Lock()
        self._left_queue = threading.Event()
        self._node: NodeRun | None = None
        self._thread: threading.Thread | None = None
        resource.create_time = timestamp(surroundings.clock.now())
        self._show(State.CREATING)

    @property
    def name(self) -> str:
        """Full resource name."""
        return self._resource.name

    @property
    def node_name(self) -> str:
        """Full name of its node, whether it is there or not."""
        spec = self._resource.tpu.node_spec[0]
        return f"{spec.parent}/nodes/{spec.node_id}"

    @property
    def state(self) -> State:
        """The state it is in."""
        with self._changed:
            return State(self._resource.state.state)

    @property
    def node(self) -> NodeRun | None:
        """Its node while there is one."""
        with self._changed:
            return self._node

    def snapshot(self) -> QueuedResource:
        """Return a copy of the message as it is now."""
        with self._changed:
            return copied(self._resource)

    def accept(self) -> None:
        """Admit the request and let it queue, unless it was deleted meanwhile."""
        if self._step(State.ACCEPTED):
            self._spawn()

    def wait(self, states: frozenset[State], timeout_seconds: float) -> State:
        """Return the state once it is one of these, or what it is after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._resource.state.state in states, timeout_seconds)
            return State(self._resource.state.state)

    def suspend(self) -> bool:
        """Take its machines away, as preemption does; False when it is not ACTIVE."""
        with self._ending:
            if not self._step(State.SUSPENDING, self.node):
                return False
            self._erase_node(NodeState.PREEMPTED)
            self._step(State.SUSPENDED)
            return True

    def reset(self) -> None:
        """Queue again from SUSPENDED, FAILED or ACTIVE; any other state stays."""
        self.suspend()
        with self._ending:
            if self.state in (State.SUSPENDED, State.FAILED):
                self._join()
                if self._step(State.WAITING_FOR_RESOURCES):
                    self._spawn()

    def begin_deletion(self, *, force: bool) -> bool:
        """Make it DELETING; False, and nothing done, when only `force` may end what it has."""
        with self._changed:
            before = State(self._resource.state.state)
            if not force and before not in DELETABLE:
                return False
            if before != State.DELETING:
                self._move(State.DELETING, _INITIATOR.USER)
            self._left_queue.set()
        self._around.outcomes.wake()
        return True

    def delete(self) -> None:
        """End it, and return when its machines are erased."""
        self.begin_deletion(force=True)
        with self._ending:
            self._join()
            self._erase_node(NodeState.DELETING)

    def _spawn(self) -> None:
        with self._changed:
            left = self._left_queue = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(left,), name=f"tpu-{self.name}", daemon=True
            )
            self._thread.start()

    def _join(self) -> None:
        with self._changed:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self, left_queue: threading.Event) -> None:
        self._step(State.WAITING_FOR_RESOURCES)  # after a reset it is there already
        self._await_capacity(left_queue)
        if not self._step(State.PROVISIONING):
            return
        failure = self._around.outcomes.take("fail", self.name)
        if failure is not None:
            message = failure.message or "the node could not be created"
            self._fail(State.PROVISIONING, code_pb2.INTERNAL, message)
            return
        try:
            node = self._provision()
        except (ConfigurationError, OSError) as error:
            self._fail(State.PROVISIONING, code_pb2.RESOURCE_EXHAUSTED, str(error))
            return
        if self._step(State.ACTIVE, node):
            self._arm_preemption()

    def _provision(self) -> NodeRun:
        spec = self._resource.tpu.node_spec[0]
        node = NodeRun(self.node_name, spec.node, self.name, self._around)
        with self._changed:
            self._node = node
        node.power_on()
        return node

    def _await_capacity(self, left_queue: threading.Event) -> None:
        """Return when nothing holds the request any more, or it has left the queue."""
        if not self._around.outcomes.held(self.name):
            return
        limit = valid_seconds(self._resource, self._around.clock.now())
        if limit is not None:
            threading.Thread(target=self._expire, args=(limit, left_queue), daemon=True).start()
        self._around.outcomes.wait_released(self.name, left_queue)
        left_queue.set()

    def _expire(self, limit_seconds: float, left_queue: threading.Event) -> None:
        if self._around.clock.sleep(limit_seconds, left_queue):
            return
        message = "the request was not fulfilled while it was valid"
        self._fail(State.WAITING_FOR_RESOURCES, code_pb2.DEADLINE_EXCEEDED, message)
        left_queue.set()
        self._around.outcomes.wake()

    def _arm_preemption(self) -> None:
        outcome = self._around.outcomes.take("preempt", self.name)
        if outcome is not None:
            timer = threading.Timer(outcome.after_seconds, self.suspend)
            timer.daemon = True
            timer.start()

    def _step(self, state: State, node: NodeRun | None = None) -> bool:
        """Move on with this node; False when it was deleted, or is elsewhere, meanwhile."""
        with self._changed:
            before = State(self._resource.state.state)
            if state not in TRANSITIONS[before] or self._node is not node:
                return False
            self._move(state)
            return True

    def _fail(self, within: State, code: int, message: str) -> None:
        """End it with an error, unless it is in another state than `within`."""
        with self._changed:
            if State(self._resource.state.state) != within:
                return
            node, self._node = self._node, None
            error = status_pb2.Status(code=code, message=message)
            self._move(State.FAILED, data={"error": error})
        if node is not None:
            node.erase()

    def _erase_node(self, shown: NodeState) -> None:
        """Erase the node while it is still there to be seen."""
        node = self.node
        if node is not None:
            node.set_state(shown)
            node.erase()
        with self._changed:
            self._node = None

    def _move(
        self,
        state: State,
        initiator: Any = _INITIATOR.SERVICE,
        data: dict[str, Any] | None = None,
    ) -> None:
        before = State(self._resource.state.state)
        if state not in TRANSITIONS[before]:
            raise RuntimeError(f"a QueuedResource cannot go from {before.name} to {state.name}")
        self._show(state, initiator, data)
        self._changed.notify_all()

    def _show(
        self,
        state: State,
        initiator: Any = _INITIATOR.USER,
        data: dict[str, Any] | None = None,
    ) -> None:
        fields: dict[str, Any] = {"state": state, "state_initiator": initiator}
        if state in DATA_FIELDS:
            fields[DATA_FIELDS[state]] = data or {}
        self._resource.state = QueuedResourceState(fields)
