"""Rules between fields, and between a manifest and where it stands.

A rule sees the raw values and holds its tongue when a field it needs is missing or wrong already,
so that all problems of a manifest can be told at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from saxflow import names
from saxflow.manifest.fields import IDS_TOKENIZER

Finding = tuple[str, str]
"""A dotted path and a message."""

_IDS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")


@dataclass(frozen=True)
class View:
    """Raw values by dotted path; what has a problem already is left out.

    Args:
        values: leaves of the document.
        source_name: file or object name.
        allow_file_sources: file:// is legal, as with the local cloud.
    """

    values: Mapping[str, Any]
    source_name: str
    allow_file_sources: bool

    def text(self, path: str, default: str = "") -> str:
        """Return a text, the default when the field is absent or wrong."""
        value = self.values.get(path, default)
        return value if isinstance(value, str) else default


def name_is_stem(view: View) -> Iterator[Finding]:
    """The object's name decides which head an event belongs to."""
    name, stem = view.text("name"), names.stem_of(view.source_name)
    if not names.is_manifest(view.source_name):
        suffixes = ", ".join(names.MANIFEST_SUFFIXES)
        yield "", f"the file is {view.source_name!r}, which would be left alone; name it {suffixes}"
    elif not names.is_deployment_name(stem):
        yield (
            "name",
            f"the file is {view.source_name!r}, whose stem is no legal name; {names.NAME_RULE}",
        )
    elif name and name != stem:
        yield "name", f"{name!r} differs from the file's name {stem!r}; rename one of them"


def files_stay_local(view: View) -> Iterator[Finding]:
    """file:// names a path of this machine, which no cloud VM can read."""
    for path in ("weights.source", "weights.tokenizer"):
        value = view.text(path)
        if value.startswith("file://") and not view.allow_file_sources:
            yield (
                path,
                f"{value!r} is not in Cloud Storage; copy it to a bucket and name it as gs://...",
            )


def reservation_matches_provisioning(view: View) -> Iterator[Finding]:
    """A reservation is used by reserved provisioning and nothing else."""
    if "tpu.provisioning" in view.values and not view.text("tpu.provisioning"):
        return
    provisioning = view.text("tpu.provisioning", "on-demand")
    reservation = view.values.get("tpu.reservation")
    if provisioning == "reserved" and reservation is None:
        yield "tpu.reservation", "required with provisioning: reserved; name the reservation"
    if provisioning != "reserved" and reservation is not None:
        yield (
            "tpu.reservation",
            f"not used with provisioning: {provisioning}; write provisioning: reserved",
        )


def zones_differ(view: View) -> Iterator[Finding]:
    """A zone that was tried is not tried again."""
    zones = view.values.get("tpu.zones")
    if not isinstance(zones, list):
        return
    for index, zone in enumerate(zones):
        if zone in zones[:index]:
            yield f"tpu.zones[{index}]", f"{zone!r} is given twice; name each zone once"


def prompt_is_ids(view: View) -> Iterator[Finding]:
    """Without a tokenizer a prompt is ids."""
    prompt = view.text("serve.smokeTest.prompt")
    ids = view.text("weights.tokenizer") == IDS_TOKENIZER
    if ids and prompt and not _IDS.fullmatch(prompt):
        yield (
            "serve.smokeTest.prompt",
            f"{prompt!r} is no list of ids; with tokenizer ids: write for example 3,14,15",
        )


RULES: tuple[Callable[[View], Iterator[Finding]], ...] = (
    name_is_stem,
    files_stay_local,
    reservation_matches_provisioning,
    zones_differ,
    prompt_is_ids,
)


def findings(view: View) -> Iterator[Finding]:
    """Yield what every rule finds."""
    for rule in RULES:
        yield from rule(view)
