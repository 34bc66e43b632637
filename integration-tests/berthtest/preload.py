"""LD_PRELOAD libraries that replace functions of a program under test."""

import shutil
import subprocess
from pathlib import Path

import pytest


def compile_preload(name, folder, *options):
    """Compiles berthtest/NAME.c to a shared library; returns its path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip(f"no C compiler to make {name}")
    library = folder / f"{name}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", *options, "-o", library,
                    Path(__file__).parent / f"{name}.c"], check=True)
    return library
