"""docker-compose.yml and Dockerfile, checked without a Docker engine: the Compose tool accepts the
file, our programs accept its settings, and every service has its start order, its health check, no
privileges and only loopback ports."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("BERTH_BIN", ROOT / "build" / "bin"))
OURS = {"init": "berth-admin", "worker-1": "berth-worker", "worker-2": "berth-worker",
        "reader": "berth-reader"}
LONG_RUNNING = sorted(set(OURS) - {"init"})
OWN_ACCOUNT = ("init", "reader")


def compose_tool():
    """The Compose tool's command: the docker plugin, or Debian's docker-compose."""
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
            return plugin
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    return None


@pytest.fixture(scope="module", name="services")
def fixture_services():
    """The services after the Compose tool has resolved anchors, merges and variables."""
    tool = compose_tool()
    if tool is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    done = subprocess.run([*tool, "--file", str(ROOT / "docker-compose.yml"), "config"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


def published(service):
    """(address, port) of each published port, from either notation printed by `config`."""
    for port in service.get("ports", []):
        if isinstance(port, dict):
            yield port.get("host_ip"), str(port.get("published"))
        else:
            address, _, rest = str(port).partition(":")
            yield address, rest.split(":")[0]


def test_the_services_are_there(services):
    assert set(services) == {"kafka", "mysql", *OURS}


def test_order_of_start(services):
    def condition(service, other):
        return services[service]["depends_on"][other]["condition"]

    for server in ("kafka", "mysql"):
        assert condition("init", server) == "service_healthy"
        assert services[server]["healthcheck"]["test"]
    for name in LONG_RUNNING:
        assert condition(name, "init") == "service_completed_successfully"
        assert condition(name, "mysql") == "service_healthy"


@pytest.mark.parametrize("name", sorted(OURS))
def test_services_are_unprivileged(services, name):
    service = services[name]
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_health_checks_use_the_program(services, name):
    assert services[name]["healthcheck"]["test"] == ["CMD", OURS[name], "--healthcheck"]


def test_ports_are_published_on_loopback_only(services):
    ports = [port for service in services.values() for port in published(service)]
    assert ports
    assert {address for address, _ in ports} == {"127.0.0.1"}


def test_passwords_come_from_files(services):
    for name, service in services.items():
        given = {secret["source"] for secret in service.get("secrets", [])}
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key:
                assert key.endswith("_FILE"), f"{name}: {key} is a password in the environment"
                folder, _, secret = value.rpartition("/")
                assert folder == "/run/secrets"
                assert secret in given or key == "BERTH_DB_PASSWORD_FILE" and name in OWN_ACCOUNT


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_our_programs_take_the_settings(services, name, tmp_path):
    """The program knows each setting and accepts its value."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for key, value in services[name]["environment"].items():
        if key.endswith("_FILE"):
            secret = tmp_path / Path(value).name
            secret.write_text("secret")
            secret.chmod(0o600)
            value = str(secret)
        environment[key] = str(value)
    done = subprocess.run([BIN / OURS[name], "--check-config"], env=environment, cwd=tmp_path,
                          capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    shown = subprocess.run([BIN / OURS[name], "--print-config"], env=environment, cwd=tmp_path,
                           capture_output=True, text=True, check=True, timeout=30).stdout
    for key in services[name]["environment"]:
        assert re.search(rf"#.*\b{key}\b", shown), f"{key} sets nothing:\n{shown}"


def test_the_image_holds_what_the_services_run(services):
    makefile = (ROOT / "Makefile").read_text()
    installed = re.search(r"^program_names := (.*)$", makefile, re.M).group(1).split()
    for name, program in OURS.items():
        assert services[name]["command"][0] == program
        assert program in installed


def test_the_image_has_every_library_that_the_programs_load():
    """The image installs packages-run.txt: every library linked by a program must come from one of
    these packages or from Debian's base system."""
    listed = (ROOT / "dev/packages-run.txt").read_text()
    wanted = set(re.sub(r"#.*", "", listed).split()) | {"libc6"}
    for program in sorted(set(OURS.values()) | {"berth"}):
        headers = subprocess.run(["objdump", "-p", BIN / program], capture_output=True, text=True,
                                 check=True).stdout
        for library in re.findall(r"NEEDED\s+(\S+)", headers):
            owner = subprocess.run(["dpkg", "-S", f"*/{library}"], capture_output=True, text=True,
                                   check=True).stdout.splitlines()[0].split(":")[0]
            assert owner in wanted, f"{program} needs {library} of {owner}"


def test_dockerfile_installs_with_the_same_script():
    """The Dockerfile names no package itself, so it cannot drift from dev/setup's lists."""
    text = (ROOT / "Dockerfile").read_text()
    assert "apt-get" not in text
    assert "dev/setup build" in text and "setup run" in text
    assert re.search(r"^RUN make .*install", text, re.M)
    assert re.search(r"^USER (?!root)\w+", text, re.M)
