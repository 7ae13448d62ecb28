"""The site: Sphinx reads docs/ as Markdown. `python -m sphinx -W --keep-going -c docs/site docs build/site` builds it.

A page says where a generated section goes by a comment on a line of its own, such as `<!-- site: command-line -->`.
The navigation follows the links of the README of each folder: a page that its folder's README does not name is an error.
Nothing on the site is loaded from the network.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from command_pages import command_line  # noqa: E402
from method_pages import all_methods  # noqa: E402
from python_pages import names_for_methods, public_names  # noqa: E402
from schema_pages import document  # noqa: E402

from ambiseg import __version__  # noqa: E402
from ambiseg.models.prediction.document import reference  # noqa: E402

project = "ambiseg"
author = "The ambiseg developers"
copyright = "The ambiseg developers, Apache-2.0. For research use only"
version = release = __version__

extensions = ["myst_parser"]
root_doc = "README"
exclude_patterns = ["site"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # generated sections begin at the level of the page

smartquotes = False

html_theme = "pydata_sphinx_theme"
html_title = "ambiseg"
html_static_path = ["static"]
html_css_files = ["page.css"]
html_sidebars = {
    page: [] for page in ("README", "tutorial", "tutorial-cells", "explanation", "glossary")
}  # without a section
html_show_sourcelink = False
html_copy_source = False
html_use_index = False
html_theme_options = {
    "github_url": "https://github.com/ambiseg/ambiseg",
    "navigation_with_keys": False,
    "navbar_persistent": ["search-button"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_toc_level": 2,
    "header_links_before_dropdown": 8,
    "footer_start": ["copyright"],
    "footer_end": [],
    "logo": {"text": "ambiseg"},
}

SOURCE = "https://github.com/ambiseg/ambiseg/blob/main/"
ROOT = HERE.parents[1]
PLACE = re.compile(r"^<!-- site: ([\w-]+) ?(\S*) -->$", re.MULTILINE)
SECTIONS: dict[str, Callable[..., str]] = {
    "command-line": command_line,
    "methods": all_methods,
    "python": public_names,
    "python-for-methods": names_for_methods,
    "document": document,
    "hypotheses": reference,
}
LINK = re.compile(r"(\]\()([^)#\s]+)")
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(?:https?:)?//[^>]*|<link[^>]*rel=["']?stylesheet[^>]*//[^>]*"""
)
STYLED = re.compile(r"""@import[^;]*//[^;]*|url\(["']?(?:https?:)?//[^)]*""")


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Fill a page's generated sections, lead its links out of docs/ to the repository, and add its navigation."""
    folder = (ROOT / "docs" / page).parent
    text = PLACE.sub(lambda found: SECTIONS[found[1]](*filter(None, [found[2]])), source[0])
    text = LINK.sub(lambda link: link[1] + _target(link[2], folder), text)
    if page.endswith("README"):
        text += "\n```{toctree}\n:hidden:\n:maxdepth: 2\n\n" + "\n".join(_below(source[0], page)) + "\n```\n"
    source[0] = text


def _target(target: str, folder: Path) -> str:
    """A file of the repository outside docs/ is linked on the forge; other targets stay as they are."""
    file = (folder / target).resolve()
    if "://" in target or not file.exists() or file.is_relative_to(ROOT / "docs"):
        return target
    return SOURCE + str(file.relative_to(ROOT))


def _below(text: str, page: str) -> list[str]:
    """The pages under a README: those of its own folder, and the READMEs of the folders in it, named as it names them."""
    found = {target: title for title, target in re.findall(r"\[([^\]]+)\]\(([\w.-]+\.md|[\w-]+/README\.md)\)", text)}
    return [f"{' '.join(title.split())} <{target}>" if page == root_doc else target for target, title in found.items()]


def finish(app: Sphinx, error: Exception | None) -> None:
    """Give the site its front door, and refuse what would be loaded from the network."""
    if error:
        return
    site = Path(app.outdir)
    front = '<!doctype html><meta http-equiv="refresh" content="0; url=README.html"><a href="README.html">ambiseg</a>\n'
    (site / "index.html").write_text(front, encoding="utf-8")
    for file, pattern in [*((f, LOADED) for f in site.rglob("*.html")), *((f, STYLED) for f in site.rglob("*.css"))]:
        for found in pattern.findall(file.read_text(encoding="utf-8")):
            raise ExtensionError(f"{file.relative_to(site)} loads from the network: {found[:120]}")


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls first."""
    app.connect("source-read", read)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True}
