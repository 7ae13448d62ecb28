"""The tables of the default model's study, from its CSV files: `results.md` in the study's folder.

    python examples/studies/default_model/page.py default-model
    python examples/studies/lidc_page/fill_lidc_page.py default-model --page docs/results/default-model.md

A part of the study that has not been done yet has no section.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from out_of_fold import FIGURES, JUDGED, column_of
from recipes import BASE, RECIPES, TRAINED

from ambiseg.models.benchmarks.trials.entries import Entry
from ambiseg.models.benchmarks.trials.lidc_tables import HEADINGS, LESION_HEADINGS
from ambiseg.models.benchmarks.trials.table_text import markdown_table, short
from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.tables import read_table
from ambiseg.terminal.console import plain_errors

SUMMED = {"runs": ".0f", "core_hours": ".2f", "kwh": ".3f"}  # of all parts together


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
    for number, own in apart(rows_of(folder, "search.csv"), "round"):
        yield f"## Round {number}\n\n{by_recipe(own, told)}"
    if rows := rows_of(folder, "seeds.csv"):
        yield "## Seeds\n\n" + "\n\n".join(by_recipe(own, told) for _, own in apart(rows, "steps"))
    if rows := rows_of(folder, "folds.csv"):
        yield f"## Out of fold\n\n{markdown_table(list(out_of_fold(rows)), left=3)}"
    if rows := rows_of(folder, "against.csv"):
        table = [
            ["recipe", "steps", "figure", "cases", "patients", "recipe's folds", "shipped model", "difference", "p"]
        ]
        for row in rows:
            about = [f"`{row['recipe']}`", f"{int(row['steps']):,}", named(row["figure"], row["by"]), row["cases"]]
            table.append([*about, row["patients"], row["folds"], row["model"], row["difference"], row["p"]])
        yield f"## Against\n\n{markdown_table(table, left=3)}"
    if rows := rows_of(folder, "cost.csv"):
        table = [["part", "runs", "core hours", "kWh"]]
        table += [[f"`{row['part']}`", row["runs"], row["core_hours"], row["kwh"]] for row in rows]
        whole = [f"{sum(float(row[name]) for row in rows):{form}}" for name, form in SUMMED.items()]
        yield f"## Cost\n\n{markdown_table([*table, ['all', *whole]])}"


def out_of_fold(rows: Sequence[Mapping[str, str]]) -> Iterator[list[str]]:
    """The table of what was found out of fold: a row per recipe, kind of case and figure."""
    yield ["recipe", "steps", "figure", "folds", "seeds", "cases", "mean (interval)", "of the folds", "of the seeds"]
    for row in rows:
        for kind, figures in JUDGED.items():
            for figure in figures:
                column = column_of(figure, kind)
                if not row.get(column):
                    continue
                about = [
                    f"`{row['recipe']}`",
                    f"{int(row['steps']):,}",
                    named(figure, kind),
                    row["folds"],
                    row["seeds"],
                ]
                found = [row[column], row[f"{column}_of_folds"], row[f"{column}_of_seeds"]]
                yield [*about, row[f"{kind}s"], *found]


def named(figure: str, by: str) -> str:
    """A figure in words."""
    if by == "slice":
        return HEADINGS[figure]
    return f"lesions: {LESION_HEADINGS[figure]}"


def rows_of(folder: Path, name: str) -> Sequence[Mapping[str, str]]:
    """The rows of one of the study's tables; none where it has not been made."""
    file = folder / name
    return read_table(file, "a table of study.py").rows if file.is_file() else []


def apart(rows: Sequence[Mapping[str, str]], column: str) -> Iterator[tuple[str, list[Mapping[str, str]]]]:
    """Each value of a column, in the order of the rows, with its rows."""
    for value in dict.fromkeys(row[column] for row in rows):
        yield value, [row for row in rows if row[column] == value]


def by_recipe(rows: Sequence[Mapping[str, str]], told: Mapping[str, str]) -> str:
    """A table of recipes, the best first; with several seeds, how far they lie apart."""
    table = [["recipe", "what it changes", *(HEADINGS[figure] for figure in FIGURES)]]
    for row in rows:
        figures = [short(float(row[name])) + spread(row, name) for name in FIGURES]
        table.append([f"`{row['recipe']}`", told[row["recipe"]], *figures])
    about = f"{int(rows[0]['steps']):,} steps, {rows[0]['seeds']} seed{'s' * (rows[0]['seeds'] != '1')}."
    return f"{about}\n\n{markdown_table(table, left=2)}"


def spread(row: Mapping[str, str], name: str) -> str:
    """The range over seeds, where there are several."""
    return f" ({short(float(row[name + '_spread']))})" if row["seeds"] != "1" else ""


def write_page(folder: Path) -> None:
    """Write results.md from the tables in the study's folder."""
    found = list(sections(folder))
    if not found:
        raise InputError(f"{folder} holds no table of study.py: run `study.py search` first.")
    with whole_file(folder / "results.md") as aside:
        aside.write_text("# The default model\n\n" + "\n\n".join(found) + "\n", encoding="utf-8")
    print(f"Written: {folder / 'results.md'}")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the output folder of study.py")
    write_page(parser.parse_args().folder)


if __name__ == "__main__":
    with plain_errors():
        main()
