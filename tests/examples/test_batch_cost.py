"""examples/studies/batch_cost.py: the same files in one part and in several, and a restart that writes nothing."""

from pathlib import Path

import batch_cost

from ambiseg.models.cohort.batches import Part


def test_parts_give_the_files_of_one_and_a_restart_writes_nothing(tmp_path: Path) -> None:
    whole = batch_cost.measured(tmp_path / "one", 60, "batch")
    assert whole.bytes > 60 * 2000
    for number in (3, 1, 2):
        batch_cost.measured(tmp_path / "parts", 60, "batch", Part(number, 3))
    unlike, files = batch_cost.differences(tmp_path / "one", tmp_path / "parts")
    assert (unlike, files > 120) == ([], True)
    assert batch_cost.measured(tmp_path / "one", 60, "again").bytes < 100
    batch_cost.draw([whole, batch_cost.measured(tmp_path / "one", 60, "again")], tmp_path / "cost.png")
    assert (tmp_path / "cost.png").is_file()
