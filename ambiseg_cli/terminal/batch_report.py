"""What `ambiseg predict` says of a batch when it ends, and when its parts are joined."""

from pathlib import Path
from typing import TYPE_CHECKING

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import NothingFound, PartialError, UsageError

from .console import console, emit_json, failures_table

if TYPE_CHECKING:
    from ambiseg.models.cohort.batches import Batch
    from ambiseg.models.cohort.joining import Summary


def report_batch(batch: "Batch", folder: Path, as_json: bool) -> None:
    """Print how a batch went. Leave with 5 if some scans failed or lack something, with 3 if there was nothing to predict."""
    from ambiseg.preprocessing.failures import CaseFailure

    count = batch.count
    if as_json:
        emit_json(
            {
                "done": batch.done,
                "skipped": batch.skipped,
                "nothing": batch.nothing,
                "incomplete": batch.incomplete,
                "failed": {each.case: each.reason for each in batch.failures},
            }
        )
    if batch.nothing:
        nothing = [CaseFailure(case, reason) for case, reason in batch.nothing.items()]
        console.print(failures_table(nothing, "scan", "with nothing to predict"))
    if batch.incomplete:
        missing = [CaseFailure(case, what) for case, each in batch.incomplete.items() for what in each]
        console.print(failures_table(missing, "result", "missing (pictures, reports, exports)"))
    if batch.failures:
        console.print(failures_table(batch.failures))
    console.print(
        f"Written: {folder!s}/: {counted(len(batch.done), 'scan')} predicted, {len(batch.skipped)} predicted earlier, "
        f"{len(batch.nothing)} with nothing to predict"
    )
    if batch.whole is not None:
        _say_joined(folder, batch.whole)
    else:
        console.print("The tables are written when all parts are finished: by the last one, or by --join")
    if batch.elsewhere:
        raise PartialError(
            f"Another process predicts {counted(len(batch.elsewhere), 'scan')} of {count} just now "
            f"({batch.elsewhere[0]}): run the same command again when it has finished."
        )
    if count and len(batch.nothing) == count:
        raise NothingFound("There is nothing to predict in any of the scans; the table above says why.")
    if batch.failures:
        where = "the table above" if batch.whole is None else f"{folder}/failures.csv"
        raise PartialError(
            f"{len(batch.failures)} of {counted(count, 'scan')} failed; {where} says why. Run the same command again to retry "
            "them."
        )
    if batch.incomplete:
        raise PartialError(
            f"{len(batch.incomplete)} of {counted(count, 'scan')} without what the table above names; masks and numbers are "
            "complete. Delete a scan's folder to make all of it again."
        )


def join_parts(scan: Path | None, folder: Path, as_json: bool) -> None:
    """Write the tables of a batch. Leave with 5 if scans are missing or failed."""
    from ambiseg.models.cohort.joining import join_batch

    if scan is not None:
        raise UsageError(f"`join` takes the folder of results alone: leave out {scan}.")
    found = join_batch(folder)
    if as_json:
        emit_json(found.record().model_dump(mode="json", exclude={"stamp"}))
    _say_joined(folder, found)
    if waiting := found.endings["waiting"]:
        names = ", ".join(found.waiting[:5]) + ", ..." * (waiting > 5)
        raise PartialError(
            f"{counted(waiting, 'scan')} of {found.endings.total()} {'is' if waiting == 1 else 'are'} not predicted yet "
            f"({names}): run the parts that are missing, then join again. The tables hold the others."
        )
    if failed := found.endings["failed"]:
        raise PartialError(
            f"{counted(failed, 'scan')} of {found.endings.total()} failed; {folder}/failures.csv says why."
        )


def _say_joined(folder: Path, found: "Summary") -> None:
    """Print what became of all scans of a batch, and where to read it."""
    endings = found.endings
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.kinds.most_common())
    console.print(
        f"All {counted(endings.total(), 'scan')}: {endings['done']} predicted, {endings['nothing']} with nothing to predict, "
        f"{endings['failed']} failed"
        + f" ({kinds})" * bool(kinds)
        + f", {endings['waiting']} not predicted yet" * bool(endings["waiting"])
    )
    console.print(f"Written: {folder}/ (open index.html; results.csv, lesions.csv)")
