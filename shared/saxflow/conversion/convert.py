"""`saxflow convert`: a whole conversion into a directory of one's own, from reuse to root marker.

On a local disk everything happens in `DST/.partial` under a lock and is renamed when complete, so
`DST/checkpoint_00000000` exists only whole. In Cloud Storage, where nothing can be renamed, a
create-only claim binds DST to one fingerprint, and readers wait for the root marker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from saxflow import layout
from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.directory import Directory, Entry
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.matrices import Source
from saxflow.conversion.claimed import CLAIM, CLEARING, Claimed, claim_text
from saxflow.conversion.digests import check_unchanged
from saxflow.conversion.partial import Partial, sweep
from saxflow.conversion.report import REPORT, Spec, compose, read_report
from saxflow.conversion.task import (
    DEFAULT_MAX_MEMORY,
    Ends,
    Progress,
    Share,
    TaskResult,
    existing_objects,
    run_task,
)
from saxflow.conversion.written import Written
from saxflow.errors import InputError, IntegrityError

PREFIX = f"{layout.STEP_DIRECTORY}/"


@dataclass(frozen=True)
class Conversion:
    """What to convert, where to, and how."""

    files: Directory
    source: Source
    target: Directory
    spec: Spec
    share: Share = field(default_factory=Share)
    max_memory: int = DEFAULT_MAX_MEMORY
    overwrite: bool = False

    @property
    def fingerprint(self) -> str:
        """Names the result."""
        return self.spec.fingerprint(self.source)


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Args:
        checkpoint: the step directory.
        complete: whether every Task's chunks exist and the root marker is written.
        reused: whether it existed already and nothing was read.
        result: what this Task did, None when reused.
    """

    checkpoint: str
    complete: bool
    reused: bool
    result: TaskResult | None = None


def convert(work: Conversion, on_progress: Callable[[Progress], None] = lambda _: None) -> Outcome:
    """Convert, resume or reuse.

    Raises:
        InputError: DST holds a conversion of something else and `overwrite` is not set.
        BusyError: another process converts into DST.
        IntegrityError: DST holds a committed checkpoint that is damaged.
        WeightsError: the source cannot be converted.
    """
    if is_reusable(work):
        if isinstance(work.target, LocalDirectory):
            sweep(work.target.root, work.fingerprint)
        return Outcome(_checkpoint(work), complete=True, reused=True)
    if isinstance(work.target, LocalDirectory):
        return _convert_locally(work, work.target, on_progress)
    return _convert_remotely(work, on_progress)


def is_reusable(work: Conversion) -> bool:
    """Return whether DST holds this very checkpoint, committed; reads no weights.

    Raises:
        InputError: it holds another one and `overwrite` is not set.
        IntegrityError: objects of a committed checkpoint are missing or have another size.
    """
    report = None if work.overwrite else read_report(work.target)
    if report is None:
        return False
    _require_same(work, report.fingerprint)
    listed = {n.removeprefix(PREFIX): e for n, e in work.target.entries(PREFIX).items()}
    for name, one in report.objects.items():
        if name not in listed or listed[name].size_bytes != one.size_bytes:
            state = "is missing" if name not in listed else "has another size"
            raise IntegrityError(
                f"{work.target.uri} is committed, but {PREFIX}{name} {state};"
                " convert again with --overwrite"
            )
    return layout.MARKERS[-1] in listed


def _convert_locally(
    work: Conversion, target: LocalDirectory, on_progress: Callable[[Progress], None]
) -> Outcome:
    with Partial(target.root, work.fingerprint, work.share, overwrite=work.overwrite) as partial:
        if partial.renamed:
            partial.finish()
            return Outcome(_checkpoint(work), complete=True, reused=True)
        with LocalDirectory(partial.folder) as inside:
            result = _run(work, inside, on_progress)
            complete = _complete_locally(work, partial, inside, result)
    return Outcome(_checkpoint(work), complete, reused=False, result=result)


def _complete_locally(
    work: Conversion, partial: Partial, inside: LocalDirectory, result: TaskResult
) -> bool:
    """Commit when every Task's objects are there; the last Task to end does it."""
    with partial.committing() as first:
        if not first:
            return True
        objects = _all_objects(work, inside, result)
        if objects is None:
            return False
        _require_accounted(work, inside, objects)
        for marker, text in list(layout.marker_texts(work.target.uri).items())[:-1]:
            inside.overwrite(PREFIX + marker, text)
        inside.overwrite(REPORT, _report(work, objects, result))
        names = [*(one.name for one in objects), *layout.MARKERS[:-1]]
        inside.persist([REPORT, *(PREFIX + name for name in names)])
        partial.rename()
        partial.finish()
        return True


def _convert_remotely(work: Conversion, on_progress: Callable[[Progress], None]) -> Outcome:
    # Listed before the claim is looked at, so that nothing of a Task that has begun anew is in it.
    old = work.target.entries() if work.overwrite else {}
    if work.overwrite and not _cleared_by_another_task(work):
        _clear(work, old)
    else:
        _claim(work)
    target = Claimed(work.target, work.fingerprint)
    result = _run(work, target, on_progress)
    objects = _all_objects(work, target, result)
    if objects is None:
        return Outcome(_checkpoint(work), complete=False, reused=False, result=result)
    _require_accounted(work, target, objects)
    target.overwrite(REPORT, _report(work, objects, result))
    for marker, text in layout.marker_texts(target.uri).items():
        target.create(PREFIX + marker, [text], crc32c(text), origin=work.fingerprint)
    return Outcome(_checkpoint(work), complete=True, reused=False, result=result)


def _run(
    work: Conversion, target: Directory, on_progress: Callable[[Progress], None]
) -> TaskResult:
    result = run_task(
        Ends(work.files, target),
        work.source,
        work.spec,
        work.share,
        max_memory=work.max_memory,
        on_progress=on_progress,
    )
    check_unchanged(work.files, work.source)
    return result


def _all_objects(
    work: Conversion, target: Directory, result: TaskResult
) -> Sequence[Written] | None:
    """Return every object of the checkpoint, None while other Tasks have not ended."""
    if work.share.count == 1:
        return result.objects
    dims, spec = work.source.dimensions, work.spec
    mine = {one.name for one in result.objects}
    others = [c for c in layout.all_chunks(dims, spec.dtype, spec.mesh) if c.name not in mine]
    existing = existing_objects(target, others, spec, work.fingerprint)
    if len(existing) < len(others):
        return None
    documents = layout.documents(dims, spec.dtype, spec.mesh, spec.compressor)
    listed = target.entries(PREFIX)
    if any(PREFIX + name not in listed for name in documents):
        return None
    known = [Written.of(name, data) for name, data in documents.items() if name not in mine]
    return [*result.objects, *existing.values(), *known]


def _report(work: Conversion, objects: Sequence[Written], result: TaskResult) -> bytes:
    return compose(
        work.source,
        work.files.uri,
        work.target.uri,
        work.spec,
        tasks=work.share.count,
        objects=objects,
        figures=result.figures(),
    )


def _cleared_by_another_task(work: Conversion) -> bool:
    """Return whether this very conversion has begun here and is not finished."""
    return (
        work.share.count > 1
        and _is_claimed(work.target)
        and _claimed(work.target) == work.fingerprint
        and PREFIX + layout.MARKERS[-1] not in work.target.entries(PREFIX)
    )


def _claim(work: Conversion) -> None:
    """Bind a prefix in Cloud Storage to one fingerprint before anything is written.

    Objects that were there before the claim may be of any origin, so they are no finished chunks.
    """
    target = work.target
    # Looked at twice: another Task may claim and begin between the first look and the listing.
    if not _is_claimed(target) and target.entries(PREFIX) and not _is_claimed(target):
        raise InputError(
            f"{target.uri} holds a {layout.STEP_DIRECTORY} without {CLAIM}, so saxflow did not write"
            " it; choose another directory or give --overwrite"
        )
    text = claim_text(work.fingerprint)
    try:
        work.target.create(CLAIM, [text], crc32c(text))
    except IntegrityError:
        _require_same(work, _claimed(work.target))


def _is_claimed(target: Directory) -> bool:
    return CLAIM in target.entries(CLAIM)


def _claimed(target: Directory) -> str:
    try:
        return str(json.loads(target.read(CLAIM))["fingerprint"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{target.uri}/{CLAIM} is damaged; give --overwrite") from error


def _require_same(work: Conversion, found: str) -> None:
    if found != work.fingerprint:
        raise InputError(
            f"{work.target.uri} holds a conversion with fingerprint {found}, this one has"
            f" {work.fingerprint} (other weights, dtype or mesh); choose another directory or"
            " give --overwrite"
        )


def _clear(work: Conversion, old: Mapping[str, Entry]) -> None:
    """Delete a conversion and claim its place, the root marker first: nobody reads what is going.

    Args:
        old: what was there before; what another Task of this conversion has created since stays.
    """
    target = work.target
    root = PREFIX + layout.MARKERS[-1]
    if root in old:
        target.delete(root, generation=old[root].generation)
    target.overwrite(CLAIM, claim_text(CLEARING))
    for name, entry in target.entries(PREFIX).items():
        if entry.origin != work.fingerprint or entry == old.get(name):
            target.delete(name, generation=entry.generation)
    if REPORT in old:
        target.delete(REPORT, generation=old[REPORT].generation)
    target.overwrite(CLAIM, claim_text(work.fingerprint))


def _require_accounted(work: Conversion, target: Directory, objects: Sequence[Written]) -> None:
    """Compare the finished prefix with the plan and with what was written, before any marker.

    Raises:
        IntegrityError: an object is missing, has other bytes, or does not belong there.
    """
    dims, spec = work.source.dimensions, work.spec
    planned = {o.name for o in layout.objects(dims, spec.dtype, spec.mesh, spec.compressor)}
    listed = {name.removeprefix(PREFIX): e for name, e in target.entries(PREFIX).items()}
    written = {one.name: one for one in objects}
    for name in sorted({*planned, *listed} - {*layout.MARKERS}):
        one, entry = written.get(name), listed.get(name)
        if name not in planned:
            reason = "does not belong to this checkpoint"
        elif one is None or entry is None:
            reason = "is missing"
        elif entry.size_bytes != one.size_bytes or entry.crc32c not in (None, one.crc32c):
            reason = "is not what was written"
        else:
            continue
        raise IntegrityError(f"{target.uri}/{PREFIX}{name} {reason}; give --overwrite")


def _checkpoint(work: Conversion) -> str:
    return f"{work.target.uri.rstrip('/')}/{layout.STEP_DIRECTORY}"
