"""Runs clang-tidy on all C files with the build's flags, on all cores.

A file without findings is skipped until the file, one of its headers, the flags or .clang-tidy change:
var/tidy.json keeps a digest of all these.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from linters.graph import edges

PROGRAM = "clang-tidy-14"
FILES = 8  # per call: starting the program costs as much as a small file


def build_flags(top):
    """The build's C compiler flags."""
    done = subprocess.run(["make", "--no-print-directory", "-s", "tidy-flags"], cwd=top, check=True,
                          stdout=subprocess.PIPE, text=True)
    return done.stdout.split()


def digests(root, sources, flags):
    """Yields (.c file, digest of everything that affects its findings)."""
    settings = [root / ".clang-tidy", *sorted(root.glob("*/.clang-tidy"))]
    common = " ".join(flags).encode() + b"".join(path.read_bytes() for path in settings)
    below = defaultdict(set)
    for path, other, _ in edges(root, sources):
        below[path].add(other)
    for path in sources:
        if path.suffix != ".c":
            continue
        reached, left = {path}, [path]
        while left:
            new = below[left.pop()] - reached
            reached |= new
            left += new
        parts = b"".join((root / each).read_bytes() for each in sorted(reached))
        yield path, hashlib.sha256(common + parts).hexdigest()


def findings_of(root, paths, flags):
    """Yields (file, finding). Findings in foreign headers are filtered out by check()."""
    done = subprocess.run([PROGRAM, "--quiet", *map(str, paths), "--", *flags], cwd=root,
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for name, rest in re.findall(r"^([^:\s]+)(:\d+:\d+: (?:warning|error): .*)$", done.stdout, re.M):
        yield Path(os.path.relpath(root / name, root)), rest


def check(top, root, sources):
    """Returns each finding as a line."""
    if not shutil.which(PROGRAM):
        return [f"dev/lint: {PROGRAM} is missing: run dev/setup test"]
    flags = build_flags(top)
    kept = root / "var" / "tidy.json"
    clean = set(json.loads(kept.read_text())) if kept.is_file() else set()
    digest = dict(digests(root, sources, flags))
    paths = [path for path in digest if digest[path] not in clean]
    parts = [paths[i:i + FILES] for i in range(0, len(paths), FILES)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda part: list(findings_of(root, part, flags)), parts))
    ours, faulty = set(), set()
    for part, lines in zip(parts, found):
        for path, rest in lines:
            if path in sources:
                ours.add(f"{path}{rest}")
                faulty.update(part)  # a finding in a header may belong to any file of the part
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(sorted(digest[path] for path in digest if path not in faulty)))
    return sorted(ours)
