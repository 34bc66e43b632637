"""Finds unused code: functions without a caller, declarations without a definition, and macros,
enumerators, types and members unused by production code.

Compares names in the text, without a build; of two things with one name it may miss one.
"""

import re
from collections import Counter, defaultdict

from linters.source import FUNCTION, code_only, is_production, line_of

# Functions called only by tests, benchmarks or the generation of docs, with the reason to keep them in a
# production folder.
EXEMPT = {
    "timeline_check": "asserts the tree's invariants; needs its private structs",
    "timeline_point_count": "lets tests see that a timeline forgets; needs its private structs",
    "pool_used": "lets tests see that nothing leaks",
    "pool_bytes": "used by the benchmarks of memory",
    "zone_forget": "lets a test choose its time zone files",
    "cli_print_markdown": "makes docs/cli.md",
    "config_print_markdown": "makes docs/configuration.md",
}
PUBLIC_HEADER = "producer/include/berth.h"

DECLARATION = re.compile(r"^[a-z][^;{}#=]*?\b(\w+)\((?:[^()]|\([^()]*\))*\)[^;{}=]*;", re.S | re.M)
MACRO = re.compile(r"^[^\S\n]*#\s*define\s+(\w+)", re.M)
ENUM = re.compile(r"\benum\s*\w*\s*\{([^}]*)\}")
ENUMERATOR = re.compile(r"\b([A-Z]\w+)\b(?=\s*(?:,|=|$))")
TYPE = re.compile(r"^(?:struct|enum|union)\s+(\w+)\s*\{", re.M)
STRUCT = re.compile(r"^(?:struct|union)\s+\w+\s*\{(.*?)^\}", re.M | re.S)
MEMBER = re.compile(r"\b([A-Za-z_]\w*)(?:\[[^\]]*\])?(?=\s*[;,])")
WORD = re.compile(r"\b[A-Za-z_]\w*\b")


def blanked(text, start, end):
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]


class Names:
    """The definitions, declarations and users of functions."""

    def __init__(self):
        self.defined = {}
        self.declared = defaultdict(list)
        self.users = defaultdict(set)

    def read(self, path, code):
        rest = code
        for match in FUNCTION.finditer(code):
            head = match.group().partition("\n{\n")[0]
            name = re.search(r"(\w+)\s*\(", head).group(1)
            if not re.search(r"\bstatic\b", head):
                self.defined[name] = path, line_of(code, match.start())
            # A recursive call is not a use.
            own = re.sub(rf"\b{name}\b", lambda word: " " * len(word.group()), match.group())
            rest = rest[:match.start()] + own + rest[match.end():]
        for match in DECLARATION.finditer(code):
            declaration = match.group()
            if declaration.startswith("typedef"):
                continue
            if not declaration.startswith("static") and path.suffix == ".h":
                self.declared[match.group(1)].append((path, line_of(code, match.start())))
            rest = blanked(rest, match.start(), match.end())
        for word in set(WORD.findall(rest)):
            self.users[word].add(path)


def check_functions(names, public):
    for name, (path, line) in names.defined.items():
        if not is_production(path) or name in public or name in EXEMPT or name == "main":
            continue
        users = names.users[name]
        if not any(map(is_production, users)):
            yield path, line, f"{name} has no caller outside tests"
        elif users == {path}:
            yield path, line, f"{name} is called in its own file only: make it static"
    for name, places in names.declared.items():
        if name not in names.defined:
            for path, line in places:
                yield path, line, f"{name} is declared and nowhere defined"
    for name in sorted(EXEMPT.keys() & names.defined.keys()):
        if any(map(is_production, names.users[name] - {names.defined[name][0]})):
            yield *names.defined[name], f"{name} has a caller: take it out of dev/linters/dead.py"


def check_words(path, code, words, public):
    """Names that occur once in all code: where they are made."""
    kinds = [("macro", MACRO, None), ("type", TYPE, None)]
    if is_production(path):
        kinds += [("enumerator", ENUMERATOR, ENUM), ("member", MEMBER, STRUCT)]
    for kind, pattern, block in kinds:
        blocks = [(m.start(1), m.group(1)) for m in block.finditer(code)] if block else [(0, code)]
        for start, text in blocks:
            for match in pattern.finditer(text):
                name = match.group(1)
                if words[name] < 2 and name not in public and name != "_GNU_SOURCE":
                    yield path, line_of(code, start + match.start(1)), f"unused {kind} {name}"


def check(root, sources):
    """Gives (path, line, message) of each finding."""
    code = {path: code_only((root / path).read_text(errors="replace")) for path in sources}
    names = Names()
    everywhere, production = Counter(), Counter()
    for path, text in code.items():
        names.read(path, text)
        found = WORD.findall(text)
        everywhere.update(found)
        if is_production(path):
            production.update(found)
    public = {word for path, text in code.items() if str(path) == PUBLIC_HEADER
              for word in WORD.findall(text)}
    yield from check_functions(names, public)
    for path, text in code.items():
        yield from check_words(path, text, production if is_production(path) else everywhere,
                               public)
