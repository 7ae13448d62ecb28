"""The tables of the default model's study, from its CSV files: `results.md` in the study's folder.

    python examples/studies/default_model/page.py default-model
    python examples/studies/lidc_page/fill_lidc_page.py default-model --page docs/results/default-model.md

A part of the study that has not been done yet has no section.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from recipes import BASE, RECIPES, TRAINED

from ambiseg.models.benchmarks.trials.entries import Entry
from ambiseg.models.benchmarks.trials.table_text import markdown_table, short
from ambiseg.preprocessing.errors import InputError, plain_errors
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.tables import read_table

HEADINGS = {"ged16_v": "GED16", "ged16_u": "GED16, unbiased", "hm_iou16": "HM-IoU16"}


def changes(entry: Entry) -> str:
    """What a recipe changes of the base, in words."""
    own = dict(entry.options) | dict(entry.settings)
    base = BASE | TRAINED
    changed = {name: value for name, value in own.items() if base.get(name) != value}
    method = [] if entry.method == "gated" else [f"method {entry.method}"]
    words = [f"{name.rpartition('.')[2].replace('_', ' ')} {plain(value)}" for name, value in changed.items()]
    return ", ".join(method + words) or "as `lidc-gated` was trained"


def plain(value: object) -> str:
    """A setting as text, of a list its parts joined by hyphens."""
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def sections(folder: Path) -> Iterator[str]:
    """The sections of what has been done."""
    told = {entry.name: changes(entry) for entry in RECIPES}
    if (folder / "search.csv").is_file():
        rows = read_table(folder / "search.csv", "one row per recipe and round").rows
        for number in dict.fromkeys(row["round"] for row in rows):
            own = [row for row in rows if row["round"] == number]
            yield f"## Round {number}\n\n{by_recipe(own, told)}"
    if (folder / "seeds.csv").is_file():
        rows = read_table(folder / "seeds.csv", "one row per recipe and number of steps").rows
        each = [[row for row in rows if row["steps"] == steps] for steps in dict.fromkeys(row["steps"] for row in rows)]
        yield "## Seeds\n\n" + "\n\n".join(by_recipe(own, told) for own in each)
    if (folder / "folds.csv").is_file():
        rows = read_table(folder / "folds.csv", "one row per recipe").rows
        pairs = [(figure, f"{figure}_of_runs") for figure in HEADINGS]
        headings = [words for name in HEADINGS.values() for words in (name, "of the folds")]
        table = [["recipe", "crops", *headings]]
        table += [[f"`{row['recipe']}`", row["crops"], *(row[name] for pair in pairs for name in pair)] for row in rows]
        yield f"## Out of fold\n\n{markdown_table(table)}"
    if (folder / "against.csv").is_file():
        rows = read_table(folder / "against.csv", "one row per recipe and figure").rows
        table = [["recipe", "figure", "crops", "patients", "recipe's folds", "shipped model", "difference", "p"]]
        for row in rows:
            about = [f"`{row['recipe']}`", HEADINGS[row["figure"]], row["crops"], row["patients"]]
            table.append([*about, row["folds"], row["model"], row["difference"], row["p"]])
        yield f"## Against\n\n{markdown_table(table, left=2)}"
    if (folder / "cost.csv").is_file():
        rows = read_table(folder / "cost.csv", "one row per part").rows
        table = [["part", "runs", "core hours", "kWh"]]
        table += [[row["part"], row["runs"], row["core_hours"], row["kwh"]] for row in rows]
        yield f"## Cost\n\n{markdown_table(table)}"


def by_recipe(rows: list[Mapping[str, str]], told: Mapping[str, str]) -> str:
    """A table of recipes, the best first; with several seeds, how far they lie apart."""
    table = [["recipe", "what it changes", *HEADINGS.values()]]
    for row in rows:
        figures = [short(float(row[name])) + spread(row, name) for name in HEADINGS]
        table.append([f"`{row['recipe']}`", told[row["recipe"]], *figures])
    about = f"{int(rows[0]['steps']):,} steps, {rows[0]['seeds']} seed{'s' * (rows[0]['seeds'] != '1')}."
    return f"{about}\n\n{markdown_table(table, left=2)}"


def spread(row: Mapping[str, str], name: str) -> str:
    """The range over seeds, where there are several."""
    return f" ({short(float(row[name + '_spread']))})" if row["seeds"] != "1" else ""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the output folder of study.py")
    folder = parser.parse_args().folder
    found = list(sections(folder))
    if not found:
        raise InputError(f"{folder} holds no table of study.py: run `study.py search` first.")
    with whole_file(folder / "results.md") as aside:
        aside.write_text("# The default model\n\n" + "\n\n".join(found) + "\n", encoding="utf-8")
    print(f"Written: {folder / 'results.md'}")


if __name__ == "__main__":
    with plain_errors():
        main()
