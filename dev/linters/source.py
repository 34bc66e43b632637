"""C sources for the checks: files, code without comments, line numbers."""

import re
import subprocess
from pathlib import Path

# Relies on clang-format's layout: a function's braces are in column 0.
FUNCTION = re.compile(r"^[A-Za-z_][^;{}#=]*\)\s*\n\{\n.*?^\}", re.S | re.M)
PRODUCTION = {"core", "lib", "schemas", "db", "producer", "cli", "admin", "worker", "reader"}


def files(root):
    """The files below the folder that git tracks or would add."""
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         cwd=root, check=True, stdout=subprocess.PIPE).stdout
    names = sorted(set(out.decode().split("\0")) - {""})
    return [Path(name) for name in names if (root / name).is_file()]


def is_production(path):
    return path.parts[0] in PRODUCTION


def blank(match):
    """Blanks a match but keeps its line breaks, so that line numbers stay correct."""
    return re.sub(r"[^\n]", " ", match.group())


def code_only(text):
    """The text with comments blanked and string contents emptied."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def replace(match):
        if match.group()[0] == "/":
            return blank(match)
        return match.group()[0] + " " * (len(match.group()) - 2) + match.group()[0]

    return token.sub(replace, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def includes(text):
    """(line, quote, name) of each include."""
    for match in re.finditer(r'^[^\S\n]*#\s*include\s*([<"])([^>"]+)[>"]', text, re.M):
        yield line_of(text, match.start()), match.group(1), match.group(2)
