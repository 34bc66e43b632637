"""Fixtures of the integration tests: servers for the session, a database, and farms.

Tests that name `farm` or `module_farm` run on MySQL and on MariaDB.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from berthtest.farm import Farm  # noqa: E402
from berthtest.servers import Servers  # noqa: E402

DATABASES = ("mysql", "mariadb")


def pytest_configure(config):
    del config

    def interrupted(number, frame):
        """Turns SIGTERM into an exit that still removes the servers."""
        del number, frame
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks at the marks in a hook of the same name
def pytest_collection_modifyitems(items):
    """Under pytest -n, keeps tests that share a farm in one process and in order."""
    for item in items:
        if "module_farm" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group(
                f"{item.module.__name__}-{item.callspec.params['database']}"))


def pytest_terminal_summary(terminalreporter):
    """The figures reported by tests, including those of other pytest-xdist processes."""
    lines = [f"{report.nodeid.rpartition('/')[2]}\n    {name}: {value}"
             for reports in terminalreporter.stats.values() for report in reports
             if getattr(report, "when", None) == "call"
             for name, value in report.user_properties]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.line(line)


@pytest.fixture(scope="session", name="servers")
def fixture_servers():
    """One broker, one MySQL and one MariaDB; removed at the end even after a failure."""
    with Servers() as servers:
        yield servers


@pytest.fixture(scope="session", name="broker")
def fixture_broker(servers):
    return servers.broker


@pytest.fixture(scope="module", params=DATABASES, name="database")
def fixture_database(request, servers):
    return servers.databases[request.param]


@pytest.fixture(name="say")
def fixture_say(record_property):
    """Reports a figure: printed at the end of the session and stored in the JUnit report."""
    def say(name, value):
        record_property(name, str(value))
    return say


def folder_of(request, tmp_path_factory):
    return tmp_path_factory.mktemp(request.node.name.replace("/", "-")[:40])


@pytest.fixture(name="new_farm")
def fixture_new_farm(request, servers, database, tmp_path_factory):
    """Creates uninitialised farms, for tests of the initialisation itself."""
    farms = []

    def make(**options):
        folder = folder_of(request, tmp_path_factory)
        farms.append(Farm(servers.broker, database, folder, **options))
        return farms[-1]
    yield make
    for farm in farms:
        farm.close()


@pytest.fixture(name="farm")
def fixture_farm(new_farm):
    """A fresh farm for one test, without a running worker."""
    return new_farm().init()


@pytest.fixture(scope="module", name="module_farm")
def fixture_module_farm(request, servers, database, tmp_path_factory):
    """One farm with one worker, shared by all tests of a module."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        assert all("@" in item.nodeid for item in request.session.items
                   if "module_farm" in item.fixturenames), "pytest-xdist does not see groups"
    farm = Farm(servers.broker, database, folder_of(request, tmp_path_factory))
    try:
        farm.init()
        farm.start_worker()
        yield farm
    finally:
        farm.close()
