"""Finds include circles between folders, headers and modules, and duplicate file names.

A module is a .c and its .h. Two modules may include each other, as a module and its helper do; a
circle of three or more is refused.
"""

from collections import defaultdict
from pathlib import Path

from linters.source import includes, is_production

# Pairs that include each other are a module and its helper.
HELPERS = 2


def edges(root, sources):
    """(from, to, line) of each include among the sources."""
    known = set(sources)
    for path in sources:
        for line, quote, name in includes((root / path).read_text(errors="replace")):
            other = Path(name) if Path(name) in known else path.parent / name
            if quote == '"' and other in known:
                yield path, other, line


def circles(graph):
    """The strongly connected components of more than one node (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]) if node in graph else ():
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            start = stack.index(node)
            component = stack[start:]
            del stack[start:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def check_level(all_edges, name_of, at_most, kind):
    graph, places = defaultdict(set), {}
    for path, other, line in all_edges:
        one, two = name_of(path), name_of(other)
        if one and two and one != two:
            graph[one].add(two)
            places.setdefault((one, two), (path, line))
    for circle in circles(graph):
        if len(circle) > at_most:
            place = next(places[pair] for pair in sorted(places)
                         if pair[0] in circle and pair[1] in circle)
            yield *place, f"{kind} include each other in a circle: {', '.join(circle)}"


def check(root, sources, folder_of):
    """Yields (path, line, message) for each finding."""
    production = [path for path in sources if is_production(path)]
    known = list(edges(root, production))
    yield from check_level(known, lambda path: folder_of(str(path)), 1, "folders")
    yield from check_level(known, lambda path: str(path) if path.suffix == ".h" else None, 1,
                           "headers")
    yield from check_level(known, lambda path: str(path.with_suffix("")), HELPERS, "modules")
    first = {}
    for path in production:
        other = first.setdefault(path.name, path)
        if other != path and path.name != "main.c":
            yield path, 1, f"{other} has this file's name"
