"""usage: look.py URL SERIES CLIENT REQUEST_ID; see ../README.md"""

import json
import sys

from berth_reader import Client
from berth_reader.api.reader import get_booking, get_decision, get_machine, get_series, list_bookings
from berth_reader.types import UNSET

URL, SERIES, CLIENT, REQUEST_ID = sys.argv[1:]
client = Client(base_url=URL)
series = [booking.id for booking in get_series.sync(int(SERIES), client=client).items]
pages, after = [], UNSET
while True:
    page = list_bookings.sync(client=client, limit=100, after=after)
    pages += [booking.id for booking in page.items]
    after = page.next_
    if not after:
        break
booking = get_booking.sync(max(series), client=client)
event = get_decision.sync(CLIENT, REQUEST_ID, client=client)
problem = get_machine.sync("nosuch", client=client)
print(json.dumps({
    "series": [str(number) for number in series], "pages": [str(number) for number in pages],
    "last": str(booking.id), "start": int(booking.start.timestamp()), "state": booking.state,
    "event": f"{event.type_} {event.data.booking.id}", "time_ms": round(event.time.timestamp() * 1000),
    "offset": event.data.request.offset, "problem": problem.type_}))
