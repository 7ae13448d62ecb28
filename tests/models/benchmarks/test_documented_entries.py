"""The guide lists the entries of the benchmark on real readers, in their order."""

import re
from pathlib import Path

from ambiseg.models.benchmarks.trials.entries import LIDC_ENTRIES, ON_REQUEST

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "benchmark.md").read_text(encoding="utf-8")


def documented() -> list[str]:
    """The names in the first column of the table of entries; `-full` after `generalized-axis` is `generalized-full`."""
    table = PAGE.split("| entry (`-m`, in training order)")[1].split("\n\n")[0]
    names: list[str] = []
    for row in table.splitlines()[2:]:
        for name in re.findall(r"`([^`]+)`", row.split("|")[1]):
            names.append(f"generalized{name}" if name.startswith("-") else name)
    return names


def test_every_entry_is_documented_in_its_order() -> None:
    assert documented() == [entry.name for entry in LIDC_ENTRIES]


def test_entries_on_request_are_named() -> None:
    text = PAGE.replace("`-10-`", "`refine-10-samples`").replace("`-15-`", "`refine-15-samples`")
    text = text.replace("`-5-`", "`refine-5-samples`").replace("`-20-samples`", "`refine-20-samples`")
    text = re.sub(r"`refine-vae-kl-0\.1` and `-10`", "`refine-vae-kl-0.1` and `refine-vae-kl-10`", text)
    assert [entry.name for entry in ON_REQUEST if f"`{entry.name}`" not in text] == []
