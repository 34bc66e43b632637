"""Random requests, the same for the same seed: creates on named and on any machines, series, amends,
cancels of one and of all, and updates, on a farm that is too small for them, with a few repeats and a
little garbage among them."""

import os
import random
import time
import uuid

from berthtest.farm import create, rfc3339, share
from berthtest.wait import NotInTime

HOUR = 3600


def seed_for(name):
    """$BERTH_IT_SEED, or a seed that changes with day and test; printed by failing tests."""
    return os.environ.get("BERTH_IT_SEED") or f"{name}-{time.strftime('%Y-%m-%d')}"


class Load:
    """Sends requests of all kinds for the farm's machines."""

    def __init__(self, farm, machines, seed):
        print(f"seed of the load: BERTH_IT_SEED={seed}")  # pytest shows it when the test fails
        self.farm = farm
        self.machines = machines
        self.random = random.Random(seed)
        self.base = int(time.time()) // HOUR * HOUR + 2 * HOUR
        self.bookings = {}  # id: client
        self.series = {}  # id: client
        self.tokens = []  # candidates for repeats
        self.positions = []
        self.seen = 0

    # ---- one request of each kind ----

    def machine_share(self, machine):
        return share(machine, self.random.randint(0, 4), self.random.randint(1, 32))

    def shares(self):
        count = self.random.choice((1, 1, 1, 1, 2, 3, 5))
        return [self.machine_share(machine)
                for machine in self.random.sample(self.machines, count)]

    def window(self):
        start = self.base + self.random.randrange(48) * HOUR // 2
        return start, start + self.random.randint(1, 12) * HOUR // 2

    def make_create(self):
        if self.random.random() < 0.15:  # begins at once, to be amended while running
            return {"type": "booking.create", "duration_s": self.random.randint(1, 4 * HOUR),
                    "allocations": self.shares()}
        return create(*self.window(), *self.shares())

    def make_any(self):
        wanted = {"count": self.random.choice((1, 1, 2, 3)), "gpus": self.random.randint(0, 4),
                  "memory_gib": self.random.randint(1, 32)}
        if self.random.random() < 0.7:
            wanted["labels"] = {"rack": f"r{self.random.randrange(4)}"}
        start, end = self.window()
        return {"type": "booking.create", "start": rfc3339(start), "end": rfc3339(end),
                "any": wanted}

    def make_series(self):
        """Starts at hours with other bookings; from the second day on it meets only other series."""
        request = self.make_any() if self.random.random() < 0.3 else create(
            *self.window(), *self.shares())
        request["repeat"] = {"every": self.random.choice(("day", "day", "week")),
                             "count": self.random.choice((1, 2, 3, 5, 8)),
                             "zone": self.random.choice(("UTC", "Europe/Paris"))}
        if self.random.random() < 0.6:
            request["skip_conflicts"] = True
        return request

    def make_cancel_series(self):
        if not self.series or self.random.random() < 0.1:
            return {"type": "booking.cancel", "series": self.random.randint(1, 5000) * 4096}
        return {"type": "booking.cancel", "series": self.random.choice(list(self.series))}

    def some_booking(self):
        if not self.bookings or self.random.random() < 0.02:
            return self.random.randint(1, 5000) * 4096 + self.random.randrange(8)
        return self.random.choice(list(self.bookings))

    def make_amend(self):
        request = {"type": "booking.amend", "booking": self.some_booking()}
        start, end = self.window()
        if self.random.random() < 0.4:
            request["start"] = rfc3339(start)
        if self.random.random() < 0.6:
            request["end"] = rfc3339(end)
        if self.random.random() < 0.5 or len(request) == 2:
            request["allocations"] = self.shares()
        return request

    def make_cancel(self):
        return {"type": "booking.cancel", "booking": self.some_booking()}

    def make_update(self):
        request = {"type": "machine.update", "machine": self.random.choice(self.machines),
                   "gpus": self.random.randint(5, 10), "memory_gib": self.random.randint(48, 80)}
        if self.random.random() < 0.5:
            request["displace"] = True
        if self.random.random() < 0.2:
            request["state"] = self.random.choice(("up", "draining"))
        else:
            request["state"] = "up"
        return request

    def garbage(self):
        token = self.random.choice(self.tokens)[0] if self.tokens else "x.y.z"
        index = self.random.randrange(len(token))
        return self.random.choice((
            token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1:],
            token[:index], self.random.randbytes(self.random.randint(1, 300)), b"", None))

    # ---- sending ----

    def send(self, count):
        """Signs so many messages and gives them to the producer, without waiting."""
        farm = self.farm
        kinds = [(self.make_create, 47), (self.make_any, 12), (self.make_series, 4),
                 (self.make_amend, 18), (self.make_cancel, 8), (self.make_cancel_series, 2),
                 (self.make_update, 3), (None, 6)]
        for _ in range(count):
            make = self.random.choices([kind for kind, _ in kinds], [odds for _, odds in kinds])[0]
            if make is None:
                self.send_odd_one()
                continue
            request = make()
            client = self.random.choices((farm.batch_1, farm.ops, farm.batch_2), (6, 3, 1))[0]
            if make == self.make_update:
                client = farm.ops
            elif self.random.random() < 0.8:
                client = (self.bookings.get(request.get("booking"))
                          or self.series.get(request.get("series")) or client)
            ident = str(uuid.UUID(int=self.random.getrandbits(128)))
            token = farm.sign(client, request, jti=ident)
            self.hand_over(token, request, ident)
            self.tokens.append((token, request, ident))
        farm.producer.poll(0)

    def send_odd_one(self):
        """A repeat, to its partition or to any; or garbage."""
        roll = self.random.random()
        if roll < 0.3 or not self.tokens:
            self.farm.publish_later(self.garbage(), self.positions,
                                    partition=self.random.randrange(self.farm.partitions))
            return
        token, request, ident = self.random.choice(self.tokens)
        if roll < 0.7:
            self.hand_over(token, request, ident)
        else:
            self.farm.publish_later(token, self.positions,
                                    partition=self.random.randrange(self.farm.partitions))

    def hand_over(self, token, request, ident):
        self.farm.publish_token(token, request, ident, self.positions)

    def learn(self):
        """Learns the bookings from the events so far."""
        self.farm.events.pump()
        fresh = self.farm.events.events[self.seen:]
        self.seen += len(fresh)
        clients = self.farm.clients
        for event in fresh:
            if event.accepted and "booking" in event.data:
                booking = event.booking
                client = clients[booking["client"]]
                if "series" in event.data and booking["state"] == "booked":
                    self.series[booking["series"]] = client
                    self.bookings.update({item["booking"]: client for item in
                                          event.data["series"]["occurrences"] if "booking" in item})
                elif booking["state"] == "booked":
                    self.bookings[booking["id"]] = client
                elif self.random.random() < 0.9:
                    self.bookings.pop(booking["id"], None)
        return fresh

    def finish(self, limit_s=90.0):
        """Waits for all decisions; returns the events."""
        return self.farm.events.decisions(self.farm.flush(self.positions), limit_s)


def outcomes(events):
    """{"accepted": n, reason: n, "duplicate": n}"""
    counts = {}
    for event in events:
        name = "duplicate" if event.duplicate_of else event.reason or "accepted"
        counts[name] = counts.get(name, 0) + 1
    return counts


class Prober:
    """Detects when partitions decide again: sends requests to each until one is decided."""

    def __init__(self, farm, parts):
        self.farm, self.parts, self.begin = farm, set(parts), time.monotonic()
        self.waiting = {part: [] for part in self.parts}
        self.sent = 0.0

    def poll(self):
        """Seconds from the start until all partitions decided; None if some have not yet."""
        if time.monotonic() - self.sent > 0.2:
            self.sent = time.monotonic()
            for part in self.parts:
                self.farm.publish_later(b"probe", self.waiting[part], partition=part)
        self.farm.producer.poll(0)
        self.farm.events.pump(0.01)
        decided = self.farm.events.by_position
        self.parts -= {part for part in self.parts
                       if any(position in decided for position in self.waiting[part])}
        return None if self.parts else time.monotonic() - self.begin

    def wait(self, limit_s):
        while True:
            seconds = self.poll()
            if seconds is not None:
                return seconds
            if time.monotonic() - self.begin > limit_s:
                raise NotInTime(f"partitions {sorted(self.parts)} do not decide after {limit_s} s")
