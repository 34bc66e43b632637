"""Scrapes of /metrics, read by an independent parser and checked with promtool."""

import re
import subprocess

import requests

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[\d.]+|\+Inf|NaN)$')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)')


class Scrape:
    """One scrape: types and help texts by family, and samples."""

    def __init__(self, text):
        self.text = text
        self.types, self.help, self.samples = {}, {}, {}
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name, self.help[name] = line[7:].split(" ", 1)[0], line[7:].split(" ", 1)[1]
            elif line.startswith("# TYPE "):
                name, kind = line[7:].split(" ")
                assert name not in self.types, f"{name} comes twice"
                self.types[name] = kind
            else:
                self.add(line)

    def add(self, line):
        match = SAMPLE.match(line)
        assert match, line
        name, labels, value = match.groups()
        pairs = LABEL.findall(labels or "")
        assert ",".join(f'{key}="{text}"' for key, text in pairs) == (labels or ""), line
        key = (name, frozenset(pairs))
        assert key not in self.samples, f"{line} comes twice"
        self.samples[key] = float(value)

    def value(self, name, **labels):
        """The sample with exactly these labels, or None."""
        return self.samples.get((name, frozenset(labels.items())))

    def by(self, label, name, **labels):
        """{label: value} of a family's samples with these labels."""
        found = {}
        for (sample, pairs), value in self.samples.items():
            has = dict(pairs)
            if sample == name and label in has and labels.items() <= has.items():
                found[has[label]] = found.get(has[label], 0) + value
        return found

    def total(self, name, **labels):
        return sum(value for (sample, pairs), value in self.samples.items()
                   if sample == name and labels.items() <= dict(pairs).items())

    def labels(self, family):
        """The labels of a family's samples, without `le`."""
        names = {family}
        if self.types[family] == "histogram":
            names = {family + suffix for suffix in ("_bucket", "_sum", "_count")}
        return {key for (name, pairs) in self.samples if name in names
                for key, _ in pairs} - {"le"}


def scrape(url):
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == CONTENT_TYPE
    return Scrape(answer.text)


def metrics_url(worker):
    """Metrics address of a worker started with worker.metrics_listen=127.0.0.1:0."""
    port = worker.wait_log(r"metrics listen.*port=(\d+)").group(1)
    return f"http://127.0.0.1:{port}/metrics"


def promtool(*arguments, text=None):
    """Runs promtool, requiring success; returns its output."""
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, f"promtool {arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
