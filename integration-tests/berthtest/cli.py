"""The command line of a farm's client."""

import contextlib
import json
import subprocess

from berthtest.farm import write_key_file
from berthtest.process import program


class Cli:
    """Runs `berth` as one client of a farm."""

    def __init__(self, farm, client):
        self.farm = farm
        self.client = client
        path = farm.folder / f"{client.name}-private.pem"
        if not path.exists():
            write_key_file(path, client.key)
        self.settings = {"BERTH_CLIENT_NAME": client.name, "BERTH_CLIENT_KID": client.kid,
                         "BERTH_CLIENT_KEY_FILE": path, "BERTH_CLIENT_USER": "alice"}

    def __call__(self, *arguments, status=0, stdin=None, **environment):
        return self.farm.run("berth", *arguments, status=status, stdin=stdin,
                             **{**self.settings, **environment})

    def json(self, *arguments, status=0, **options):
        return json.loads(self(*arguments, "-o", "json", status=status, **options).stdout)

    @contextlib.contextmanager
    def running(self, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **environment):
        """Starts `berth` without waiting for it."""
        settings = {**self.settings, **environment}
        with subprocess.Popen([program("berth"), *map(str, arguments)], text=True,
                              env=self.farm.environment(**settings), stdin=stdin,
                              stdout=stdout, stderr=subprocess.PIPE) as child:
            try:
                yield child
            finally:
                child.kill()
