// usage: look.js URL SERIES CLIENT REQUEST_ID; see ../README.md
import { Configuration, ReaderApi, ResponseError } from "./client/index.js";

const [url, id, client, requestId] = process.argv.slice(2) as [string, string, string, string];
const reader = new ReaderApi(new Configuration({ basePath: url }));

// A number is exact up to 2^53 - 1, and no id is greater.
const series: number[] = (await reader.getSeries({ id: Number(id) })).items.map(booking => booking.id);
const pages: number[] = [];
let after: string | undefined;
do {
    const page = await reader.listBookings({ limit: 100, after });
    pages.push(...page.items.map(booking => booking.id));
    after = page.next;
} while (after !== undefined);
const booking = await reader.getBooking({ id: Math.max(...series) });
const event = await reader.getDecision({ client, requestId });
let problem: string | undefined;
try {
    await reader.getMachine({ name: "nosuch" });
} catch (error) {
    if (!(error instanceof ResponseError)) {
        throw error;
    }
    problem = (await error.response.json()).type;
}
console.log(JSON.stringify({
    series: series.map(String), pages: pages.map(String), last: String(booking.id),
    start: booking.start.getTime() / 1000, state: booking.state,
    event: `${event.type} ${event.data.booking?.id}`, time_ms: event.time.getTime(),
    offset: event.data.request.offset, problem,
}));
