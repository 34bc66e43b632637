// usage: look_oapi URL SERIES CLIENT REQUEST_ID; see ../../README.md
package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"

	"clients/oapi"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	ctx := context.Background()
	client := must(oapi.NewClientWithResponses(os.Args[1]))
	var series, pages []string
	var last int64
	id := must(strconv.ParseInt(os.Args[2], 10, 64))
	for _, booking := range must(client.GetSeriesWithResponse(ctx, id)).JSON200.Items {
		last = max(last, booking.Id)
		series = append(series, strconv.FormatInt(booking.Id, 10))
	}
	limit := int32(100)
	params := oapi.ListBookingsParams{Limit: &limit}
	for more := true; more; more = params.After != nil {
		page := must(client.ListBookingsWithResponse(ctx, &params)).JSON200
		for _, booking := range page.Items {
			pages = append(pages, strconv.FormatInt(booking.Id, 10))
		}
		params.After = page.Next
	}
	booking := must(client.GetBookingWithResponse(ctx, last)).JSON200
	event := must(client.GetDecisionWithResponse(ctx, os.Args[3], os.Args[4])).JSON200
	problem := must(client.GetMachineWithResponse(ctx, "nosuch")).ApplicationproblemJSON404
	must(0, json.NewEncoder(os.Stdout).Encode(map[string]any{
		"series": series, "pages": pages,
		"last":    strconv.FormatInt(booking.Id, 10),
		"start":   booking.Start.Unix(),
		"state":   booking.State,
		"event":   event.Type + " " + strconv.FormatInt(event.Data.Booking.Id, 10),
		"time_ms": event.Time.UnixMilli(),
		"offset":  event.Data.Request.Offset,
		"problem": problem.Type,
	}))
}
