"""Measures the house: rooms, arrows, circles, names and sizes. `python tests/house/layout.py` prints what it finds."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"ambiseg_cli": "ambiseg", "models": "ambiseg.models", "preprocessing": "ambiseg.preprocessing"}
SMALL = 60  # lines: a file below it with a single importer belongs to its importer


@dataclass(frozen=True)
class Module:
    """A source file under its installed name."""

    path: Path
    name: str

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def lines(self) -> int:
        """How many lines the file has."""
        return self.text.count("\n")

    @property
    def room(self) -> str:
        """The package that the module lies in."""
        return self.name if self.path.stem == "__init__" else self.name.rpartition(".")[0]

    def imports(self, *, top_only: bool = False) -> Iterator[tuple[str, str]]:
        """(module, imported name) of every import, relative ones resolved; the name is empty for `import x`."""
        tree = ast.parse(self.text)
        base = self.room.split(".")
        for node in tree.body if top_only else ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = base[: len(base) - node.level + 1] if node.level else []
                module = ".".join([*start, *filter(None, [node.module])])
                yield from ((module, alias.name) for alias in node.names)


def modules(root: Path = ROOT) -> Sequence[Module]:
    """Every module of the three packages, in order of its path."""
    return [
        Module(path, installed_name(path.relative_to(root)))
        for folder in PACKAGES
        for path in sorted((root / folder).rglob("*.py"))
    ]


def installed_name(path: Path) -> str:
    """`models/metrics/scores.py` -> `ambiseg.models.metrics.scores`."""
    folder, *inner = path.with_suffix("").parts
    return ".".join([PACKAGES[folder], *(part for part in inner if part != "__init__")])


def arrows(house: Sequence[Module]) -> Mapping[str, set[str]]:
    """Which of our modules each of our modules imports."""
    names = {module.name for module in house}
    found: dict[str, set[str]] = {module.name: set() for module in house}
    for module in house:
        for base, name in module.imports():
            target = f"{base}.{name}" if f"{base}.{name}" in names else base
            if target in names and target != module.name:
                found[module.name].add(target)
    return found


def circles(graph: Mapping[str, set[str]]) -> Sequence[Sequence[str]]:
    """Groups of nodes that reach each other (Tarjan's strongly connected components of more than one node)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[Sequence[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def rooms(house: Sequence[Module], graph: Mapping[str, set[str]]) -> Mapping[str, set[str]]:
    """Which rooms each room imports from."""
    room = {module.name: module.room for module in house}
    found: dict[str, set[str]] = {name: set() for name in room.values()}
    for source, targets in graph.items():
        found[room[source]] |= {room[target] for target in targets} - {room[source]}
    return found


def stems_used_twice(house: Sequence[Module]) -> Mapping[str, Sequence[Path]]:
    """File stems that name more than one file."""
    found: dict[str, list[Path]] = defaultdict(list)
    for module in house:
        if module.path.stem not in {"__init__", "__main__"}:
            found[module.path.stem].append(module.path)
    return {stem: paths for stem, paths in sorted(found.items()) if len(paths) > 1}


def small_with_one_importer(house: Sequence[Module], graph: Mapping[str, set[str]]) -> Sequence[tuple[Module, str]]:
    """Files of fewer than SMALL lines that a single module imports, with that module."""
    importers: dict[str, list[str]] = defaultdict(list)
    for source, targets in graph.items():
        for target in targets:
            importers[target].append(source)
    return [
        (module, importers[module.name][0])
        for module in house
        if module.path.stem not in {"__init__", "__main__"}
        and module.lines < SMALL
        and len(importers[module.name]) == 1
    ]


def never_imported(house: Sequence[Module], graph: Mapping[str, set[str]]) -> Sequence[Module]:
    """Modules that no other module of ours imports."""
    reached = set().union(*graph.values())
    return [
        module for module in house if module.name not in reached and module.path.stem not in {"__init__", "__main__"}
    ]


def main() -> None:
    """Print the measures."""
    house = modules()
    graph = arrows(house)
    plan = rooms(house, graph)
    print(f"{len(house)} modules, {sum(module.lines for module in house)} lines")
    print(f"{len(plan)} rooms, {sum(map(len, plan.values()))} arrows between them")
    print(f"Circles of modules: {len(circles(graph))}", *circles(graph), sep="\n  ")
    print(f"Circles of rooms: {len(circles(plan))}", *circles(plan), sep="\n  ")
    twice = stems_used_twice(house)
    print(f"Stems used twice: {len(twice)}, naming {sum(map(len, twice.values()))} files: {', '.join(twice)}")
    small = small_with_one_importer(house, graph)
    print(f"Files under {SMALL} lines with one importer: {len(small)}")
    for module, importer in small:
        print(f"  {module.path.relative_to(ROOT)} ({module.lines}) <- {importer}")
    print(
        "Imported by no module:",
        *(module.path.relative_to(ROOT) for module in never_imported(house, graph)),
        sep="\n  ",
    )
    sizes = Counter(dict.fromkeys(plan, 0))
    files = Counter(module.room for module in house if module.path.stem != "__init__")
    for module in house:
        sizes[module.room] += module.lines
    print("Files and lines by room:")
    for name in sorted(sizes):
        print(f"  {name:45} {files[name]:4} {sizes[name]:6}")


if __name__ == "__main__":
    main()
