"""The README's own lines, run as written on a real farm."""

import os
import re
import shlex
import subprocess
import time
import uuid

import jwt
import pytest
from confluent_kafka import Producer

from berthtest.check import check_farm
from berthtest.farm import create, private_pem, share, tomorrow
from berthtest.pages import blocks
from berthtest.process import program
from berthtest.servers import ROOT

pytestmark = pytest.mark.parametrize("database", ["mysql"], indirect=True, scope="module")


class Shell:
    """A shell of a user after `make demo`: in a checkout with var/demo, which has a farm's settings."""

    def __init__(self, farm):
        self.folder = farm.folder / "checkout"
        demo = self.folder / "var/demo"
        (demo / "keys").mkdir(parents=True)
        (self.folder / "examples").symlink_to(ROOT / "examples")
        profiles = []
        for client in (farm.batch_1, farm.ops):
            key = demo / f"keys/{client.name}.pem"
            key.touch(mode=0o600)
            key.write_bytes(private_pem(client.key))
            farm.admin_command("key", "add", client.name, "--public-key", farm.folder / f"{client.kid}.pem")
            profiles += [f"profile.{client.name}.client.name = {client.name}",
                         f"profile.{client.name}.client.key_file = keys/{client.name}.pem"]
        (demo / "berth.conf").write_text("\n".join([
            "client.name = batch-1", "client.key_file = keys/batch-1.pem", *profiles]) + "\n")
        settings = {**{name: value for name, value in farm.environment().items()
                       if name.startswith("BERTH_")}, "BERTH_CONFIG": str(demo / "berth.conf")}
        (demo / "env").write_text("".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
            + f"export PATH={shlex.quote(os.path.dirname(program('berth')))}:\"$PATH\"\n")

    def run(self, script, **more):
        """Runs lines as typed into one bash; returns the output and [(line, its exit status)]."""
        own = {name: value for name, value in os.environ.items()
               if not name.startswith(("BERTH_", "VIRTUAL_ENV", "PYTEST"))}
        lines = script.replace("\\\n", " ").splitlines()
        typed = "".join(f"{line}\necho \"@status {number} $?\"\n" for number, line in enumerate(lines))
        done = subprocess.run(["bash"], input=typed, capture_output=True, text=True, timeout=240,
                              check=False, cwd=self.folder,
                              env={**own, "HOME": str(self.folder), "TZ": "UTC", "USER": "alice", **more})
        statuses = re.findall(r"^@status (\d+) (\d+)$", done.stdout, re.M)
        assert [int(number) for number, _ in statuses] == list(range(len(lines))), done.stdout + done.stderr
        return done.stdout + done.stderr, [(line, int(status)) for line, (_, status) in zip(lines, statuses)]


@pytest.fixture(scope="module", name="shell")
def fixture_shell(module_farm):
    """The farm that the demo leaves: two machines with GPUs, and a reader."""
    farm = module_farm
    farm.start_reader()
    farm.register("gpu-01", "gpu-02", memory_gib=512, labels={"gpu": "h100"})
    farm.shell = Shell(farm)
    return farm.shell


def only(words, language=""):
    """The README's block with these words."""
    found, = (block for block in blocks("README.md", language) if words in block)
    return found


def test_first_booking_by_hand(module_farm, shell):
    farm = module_farm
    block = only("machine add gpu-07")
    made = farm.accept(farm.batch_1, create(tomorrow(), tomorrow() + 60, share("gpu-01", 1)))
    assert block.count("BOOKING") == 1
    said, statuses = shell.run(block.replace("BOOKING", str(made.booking["id"])))
    assert len(statuses) == 9
    for line, status in statuses:
        assert status == (3 if "# rejected" in line else 0), f"{line}\n{said}"


def test_from_python(module_farm, shell):
    """In the shell of the block before; the packages in the versions of the other tests."""
    farm = module_farm
    if not farm.get("/v1/machines/gpu-07").ok:
        farm.register("gpu-07", memory_gib=512)
    constraints = farm.folder / "constraints.txt"
    constraints.write_text(re.sub(r"\[.*?\]", "", (
        ROOT / "integration-tests/requirements.txt").read_text(encoding="utf-8")))
    said, statuses = shell.run(". var/demo/env\n" + only("book.py"), PIP_CONSTRAINT=str(constraints),
                               PIP_DISABLE_PIP_VERSION_CHECK="1")
    assert [status for _, status in statuses] == [0] * 5, said
    assert '"type": "berth.request.accepted"' in said
    check_farm(farm)


def test_what_matters_in_any_language(module_farm, shell):
    """The fragment makes a token that is accepted, and publishes it as it must be."""
    del shell
    farm = module_farm
    places = []
    scope = {
        "jwt": jwt, "uuid": uuid, "Producer": Producer,
        "now": int(time.time()), "request": create(tomorrow(), tomorrow() + 60, share("gpu-02", 1)),
        "key": farm.batch_1.key, "kid": farm.batch_1.kid, "brokers": farm.broker.bootstrap,
        "first_machine": "gpu-02", "remember_partition_and_offset": lambda error, message: places.append(
            error or (message.partition(), message.offset()))}
    # What differs from the demo is the farm's name.
    fragment = only("claims = ", "python").replace('"aud": "demo"', f'"aud": "{farm.name}"')
    fragment = fragment.replace('"berth.requests"', f'"{farm.request_topic}"')
    exec(fragment, scope)  # pylint: disable=exec-used
    scope["producer"].flush(20)
    assert farm.events.decision(places[0]).accepted
