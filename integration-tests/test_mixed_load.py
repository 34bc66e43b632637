"""A C program sends requests of all kinds as fast as two workers decide them: bookings on named and on
any machines, series, updates that shrink machines, under limits. Locks are taken in order, and every
check on the farm passes at the end."""

import json
import re

from berthtest.check import Findings, check_client, take_picture
from berthtest.farm import write_key_file

REQUESTS = 12000
MACHINES = 40
LIMIT = 60


def test_mixed_load(farm, say):
    key_file = write_key_file(farm.folder / "private.pem", farm.ops.key)
    # Registered under its thumbprint, the key id that the program uses.
    farm.admin_command("key", "add", "ops", "--public-key", farm.folder / "ops-key.pem")
    farm.admin_command("client", "limit", "ops", "--gpus-at-once", LIMIT)

    def load(*arguments):
        return json.loads(farm.run("../tools/load", *arguments, limit_s=240,
                                   BERTH_CLIENT_NAME="ops",
                                   BERTH_CLIENT_KEY_FILE=key_file).stdout)
    assert load("machines", MACHINES)["failed"] == 0
    for seed in (1, 2):
        assert load("mixed", REQUESTS // 2, MACHINES, seed)["failed"] == 0
    workers = [farm.start_worker() for _ in range(2)]
    seen = load("await", REQUESTS + MACHINES)
    assert seen["events"] == REQUESTS + MACHINES
    counts = {row["reason"]: row["n"] for row in farm.rows(
        "SELECT COALESCE(reason, 'accepted') AS reason, COUNT(*) AS n FROM decision"
        " GROUP BY COALESCE(reason, 'accepted')")}
    series = farm.row("SELECT COUNT(DISTINCT series) AS n FROM booking")["n"]
    say("mixed load", f"{counts}, {series} series")
    assert counts["accepted"] > 1000 and series > 50
    assert counts["limit_exceeded"] > 50 and counts["capacity_in_use"] > 5
    for worker in workers:
        assert not re.search("deadlock", worker.text(), re.IGNORECASE)
    farm.audit()
    wrong = Findings()
    say("mixed load", f"at most {check_client(take_picture(farm), 'ops', LIMIT, wrong)} GPUs")
    wrong.report()
