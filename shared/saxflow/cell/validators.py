"""What an admin accepts, with the words in which SAX's refuses.

Source: google/saxml v1.1.0 `admin/validator.go`, `common/naming.go`, `common/platform/cloud.go`.
"""

from __future__ import annotations

import json
import re

from saxflow.cell.refusals import admin_refusal
from saxflow.sax import messages as m
from saxflow.sax.names import CellName, ModelName

_NAME = "^[a-z]+[a-z0-9-_]*$"
_MODEL_PATH = "^[a-zA-Z]+[a-zA-Z0-9_.-]*$"
_CHECKPOINT = r"^(/|\d|\w|_|\.|-|%|:|=|\|)+$"
_LEGAL_NAME = re.compile(r"[a-z]+[a-z0-9\-_]*")
_LEGAL_PATH = re.compile(r"[a-zA-Z]+[a-zA-Z0-9_.\-]*")
_LEGAL_CHECKPOINT = re.compile(r"[/\w.\-%:=|]+", re.ASCII)
_ACL_PREFIX = "acl/"
METHOD_NAMES = (
    "am.recognize",
    "lm.score",
    "lm.generate",
    "lm.generate_stream",
    "lm.embed",
    "lm.gradient",
    "mm.generate",
    "vm.classify",
    "vm.generate",
    "vm.embed",
    "vm.detect",
    "vm.image_to_text",
    "vm.image_to_image",
    "vm.text_and_image_to_text",
    "vm.video_to_text",
)


def model_name(text: str, cell: CellName) -> ModelName:
    """Return the parsed model ID.

    Raises:
        SaxError: INVALID_ARGUMENT, not `/sax/<cell>/<model>` or of another cell.
    """
    outer, slash, model = text.rpartition("/")
    if not slash:
        raise _invalid(
            f"model full name {_quoted(text)} should have the form /sax/<cell name>/<model name>"
        )
    if not _LEGAL_NAME.fullmatch(model):
        raise _invalid(f"model name {_quoted(model)} must match {_quoted(_NAME)}")
    parts = outer.split("/")
    if len(parts) != 3 or parts[0] or parts[1] != "sax":
        raise _invalid(f"cell full name {_quoted(outer)} should have the form /sax/<cell name>")
    if not _LEGAL_NAME.fullmatch(parts[2]):
        raise _invalid(f"cell name {_quoted(parts[2])} must match {_quoted(_NAME)}")
    name = ModelName(CellName(parts[2]), model)
    if name.cell != cell:
        raise _invalid(f"model {text} must be within SAX cell {_quoted(str(cell))}")
    return name


def check_model(model: m.Model, cell: CellName) -> ModelName:
    """Check a model to publish and return its name.

    Raises:
        SaxError: INVALID_ARGUMENT, or UNIMPLEMENTED for access control lists.
    """
    name = model_name(model.model_id, cell)
    if not _LEGAL_PATH.fullmatch(model.model_path):
        raise _invalid(f"model path {_quoted(model.model_path)} must match {_quoted(_MODEL_PATH)}")
    if not _LEGAL_CHECKPOINT.fullmatch(model.checkpoint_path):
        raise _invalid(
            f"checkpoint path {_quoted(model.checkpoint_path)} must match {_quoted(_CHECKPOINT)}"
        )
    if model.requested_num_replicas < 0:
        raise _invalid(f"number of replicas {model.requested_num_replicas} must be non-negative")
    _check_acl(model.admin_acl)
    for method, acl in model.acls.items.items():
        if method not in METHOD_NAMES:
            raise _invalid(f"{method} is not a valid method name")
        _check_acl(acl)
    return name


def check_update(previous: m.Model, change: m.Model) -> None:
    """Check what an update may not change; `change` has passed `check_model`.

    Raises:
        SaxError: INVALID_ARGUMENT.
    """
    for label, before, after in (
        ("model full name", previous.model_id, change.model_id),
        ("model path", previous.model_path, change.model_path),
        ("checkpoint path", previous.checkpoint_path, change.checkpoint_path),
    ):
        if before != after:
            raise _invalid(f"invalid model update: {label} can't be changed")


def check_seqno(seqno: int) -> None:
    """Refuse a negative sequence number.

    Raises:
        SaxError: INVALID_ARGUMENT.
    """
    if seqno < 0:
        raise _invalid(f"WatchLoc seqno {seqno} should be non-negative")


def check_join(request: m.JoinRequest) -> None:
    """Check a server that wants to join.

    Raises:
        SaxError: INVALID_ARGUMENT.
    """
    server = request.model_server
    for wrong, text in (
        (not request.address, "JoinRequest.modelet_address cannot be empty"),
        (not request.HasField("model_server"), "JoinRequest.modelet missing"),
        (server.chip_type == 0, "Modelet.chip_type cannot be unknown"),
        (server.chip_topology == 0, "Modelet.chip_topology cannot be unknown"),
    ):
        if wrong:
            raise _invalid(text)


def _check_acl(name: str) -> None:
    if not name:
        return
    if not name.startswith(_ACL_PREFIX):
        raise _invalid(f"{name} is not a valid ACL name (must start with one of [{_ACL_PREFIX}])")
    raise admin_refusal("ACL check is not supported", "UNIMPLEMENTED")


def _invalid(message: str) -> Exception:
    return admin_refusal(message, "INVALID_ARGUMENT")


def _quoted(text: str) -> str:
    """Quote as Go's %q does for the characters that occur here."""
    return json.dumps(text, ensure_ascii=False)
