"""What the project's pages show: code and commands, to be run as written."""

import hashlib
import json
import re

from berthtest.servers import ROOT


def blocks(path, language):
    """The contents of a page's code blocks in a language; "" is a block of commands."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S) if language else \
        [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) if not name]


def python_in(path):
    """The definitions of the page's Python blocks."""
    names = {"hashlib": hashlib, "json": json}
    for block in blocks(path, "python"):
        exec(block, names)  # pylint: disable=exec-used
    return names
