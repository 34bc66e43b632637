"""Checks Markdown pages: link targets and the code named by a page exist."""

import re

from linters.source import code_only, line_of

# Code blocks are not checked: they hold examples, such as a command's output.
BLOCK = re.compile(r"^```.*?^```", re.S | re.M)
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]+)?\)")
# A path from the top folder, such as `core/decide.c`; names with placeholders are skipped.
PATH = re.compile(r"`((?:core|lib|db|producer|cli|admin|worker|reader|schemas|tests|dev|docs|packaging|"
                  r"examples|integration-tests)/[\w./-]*\w)`")
# `core/decide.c`: `decide`, `other`
NAMED = re.compile(r"`([\w./-]+\.[ch])`: ((?:`\w+`(?:, )?)+)")


def anchors(text):
    """The anchors that a forge generates from a page's headings."""
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.M)}


def check(root, path, text):
    prose = BLOCK.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    for match in LINK.finditer(prose):
        target, anchor = match.groups()
        if "://" in target:
            continue
        page = root / path.parent / target if target else root / path
        if not page.exists():
            yield line_of(prose, match.start()), f"no file {target}"
        elif anchor and anchor not in anchors(page.read_text(encoding="utf-8")):
            yield line_of(prose, match.start()), f"no heading {target}{anchor}"
    for match in PATH.finditer(prose):
        if "NNNN" not in match.group(1) and not (root / match.group(1)).exists():
            yield line_of(prose, match.start()), f"no file {match.group(1)}"
    for match in NAMED.finditer(prose):
        source = root / match.group(1)
        if not source.is_file():
            continue  # reported above
        code = code_only(source.read_text(encoding="utf-8"))
        for name in re.findall(r"`(\w+)`", match.group(2)):
            if not re.search(rf"^[A-Za-z_][^;{{}}]*\b{name}\([^;{{}}]*\)\s*\{{", code, re.M):
                yield line_of(prose, match.start()), f"{match.group(1)} has no function {name}"
