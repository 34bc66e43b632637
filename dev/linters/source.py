"""C sources as the checks see them: without comments, and with their places."""

import re
import subprocess
from pathlib import Path

# The layout that clang-format gives: a function's braces stand in column 0.
FUNCTION = re.compile(r"^[A-Za-z_][^;{}#=]*\)\s*\n\{\n.*?^\}", re.S | re.M)
PRODUCTION = {"core", "lib", "schemas", "db", "producer", "cli", "admin", "worker", "reader"}


def files(root):
    """What git knows or would add below the folder."""
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         cwd=root, check=True, stdout=subprocess.PIPE).stdout
    names = sorted(set(out.decode().split("\0")) - {""})
    return [Path(name) for name in names if (root / name).is_file()]


def is_production(path):
    return path.parts[0] in PRODUCTION


def blank(match):
    """Keeps the line breaks of what is cut out, so that line numbers stay right."""
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
