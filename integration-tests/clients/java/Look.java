import com.google.gson.Gson;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.ReaderApi;
import org.openapitools.client.model.Booking;
import org.openapitools.client.model.BookingPage;
import org.openapitools.client.model.Event;

/** usage: Look URL SERIES CLIENT REQUEST_ID; see ../README.md */
public class Look {
    public static void main(String[] args) throws Exception {
        ApiClient client = new ApiClient();
        client.setBasePath(args[0]);
        ReaderApi reader = new ReaderApi(client);
        List<String> series = new ArrayList<>();
        long last = 0;
        for (Booking booking : reader.getSeries(Long.parseLong(args[1])).getItems()) {
            last = Math.max(last, booking.getId());
            series.add(String.valueOf(booking.getId()));
        }
        List<String> pages = new ArrayList<>();
        String after = null;
        do {
            BookingPage page = reader.listBookings(null, null, null, null, null, null, 100, after);
            for (Booking booking : page.getItems())
                pages.add(String.valueOf(booking.getId()));
            after = page.getNext();
        } while (after != null);
        Booking booking = reader.getBooking(last);
        Event event = reader.getDecision(args[2], args[3]);
        String problem = null;
        try {
            reader.getMachine("nosuch");
        } catch (ApiException e) {
            problem = (String) new Gson().fromJson(e.getResponseBody(), Map.class).get("type");
        }
        Map<String, Object> seen = new LinkedHashMap<>();
        seen.put("series", series);
        seen.put("pages", pages);
        seen.put("last", String.valueOf(booking.getId()));
        seen.put("start", booking.getStart().toEpochSecond());
        seen.put("state", booking.getState());
        seen.put("event", event.getType() + " " + event.getData().getBooking().getId());
        seen.put("time_ms", event.getTime().toInstant().toEpochMilli());
        seen.put("offset", event.getData().getRequest().getOffset());
        seen.put("problem", problem);
        System.out.println(new Gson().toJson(seen));
        System.exit(0); // the HTTP library's threads would keep the program for a minute
    }
}
