"""Insert the results of `ambiseg benchmark lidc` into docs/results/lidc.md.

    python examples/studies/lidc_page/fill_lidc_page.py benchmarks/lidc [--cases cases.png] [--page docs/results/lidc.md]

Between a line `<!-- results.md: Test -->` and the next `<!-- end -->` the page gets the section "Test" of the folder's
results.md. Without a name after the colon it gets the text above the first section. Files of another folder are named relative
to this one, as `../lidc-short/ablations.md`. What a file or a section that is not there has given stays, as do other lines. The
pictures, and one by lidc_cases.py, go to docs/images/. Folders of the data in commands are shown as data/.
"""

import argparse
import re
import shutil
from pathlib import Path

from at_a_glance import PICTURE as GLANCE

from ambiseg.preprocessing.files import whole_file
from ambiseg.terminal.console import plain_errors

SLOT = re.compile(
    r"(?P<start><!-- (?P<file>[\w./-]+\.md): ?(?P<section>[^>]*?) ?-->\n)(?P<old>.*?)(?P<end><!-- end -->)", re.DOTALL
)
MISSING = "*Not measured yet.*\n"
PAGE = Path(__file__).parents[3] / "docs" / "results" / "lidc.md"


def sections(text: str) -> dict[str, str]:
    """The sections of a page by their second-level headings; "" is the text between the title and the first heading."""
    _, _, body = text.partition("\n")
    preamble, *rest = re.split(r"^## ", body, flags=re.MULTILINE)
    named = {heading: own for heading, _, own in (part.partition("\n") for part in rest)}
    return {name: own.strip() + "\n" for name, own in {"": preamble, **named}.items()}


def portable(text: str) -> str:
    """Commands as they are on another machine, with data in data/; the picture where the page's pictures are."""
    text = re.sub(r"(--data )\S*?([^/\s`]+)(?=[\s`])", r"\1data/\2", text)
    return text.replace(f"]({GLANCE})", f"](../images/lidc-{GLANCE})")


def filled(page: str, folder: Path) -> str:
    """The page with its slots filled from those of the folder's files that are there."""

    def fill(slot: re.Match[str]) -> str:
        file = folder / slot["file"]
        found = sections(file.read_text(encoding="utf-8")) if file.is_file() else {}
        new = portable(found[slot["section"]]) if slot["section"] in found else slot["old"] or MISSING
        return slot["start"] + new + slot["end"]

    return SLOT.sub(fill, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=Path, help="picture by lidc_cases.py")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    if not (options.folder / "results.md").is_file():
        raise SystemExit(
            f"{options.folder} holds no results.md: run results_page.py on the folder of `ambiseg benchmark lidc` first."
        )
    page = filled(options.page.read_text(encoding="utf-8"), options.folder)
    with whole_file(options.page) as aside:
        aside.write_text(page, encoding="utf-8")
    images = options.page.parents[1] / "images"
    pictures = {
        f"lidc-{GLANCE}": options.folder / GLANCE,
        "lidc-curves.png": options.folder / "curves.png",
        "lidc-cases.png": options.cases,
    }
    for name, picture in pictures.items():
        if picture is not None and picture.is_file():
            shutil.copyfile(picture, images / name)
    print(f"{options.page}: {len(SLOT.findall(page))} parts filled from {options.folder}")


if __name__ == "__main__":
    with plain_errors():
        main()
