// usage: look_openapi URL SERIES CLIENT REQUEST_ID; see ../../README.md
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"

	"clients/openapi"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// got drops the response's headers.
func got[T, R any](value T, _ R, err error) T {
	return must(value, err)
}

func main() {
	ctx := context.Background()
	settings := openapi.NewConfiguration()
	settings.Servers = openapi.ServerConfigurations{{URL: os.Args[1]}}
	reader := openapi.NewAPIClient(settings).ReaderAPI
	var series, pages []string
	var last int64
	id := must(strconv.ParseInt(os.Args[2], 10, 64))
	for _, booking := range got(reader.GetSeries(ctx, id).Execute()).Items {
		last = max(last, booking.Id)
		series = append(series, strconv.FormatInt(booking.Id, 10))
	}
	request := reader.ListBookings(ctx).Limit(100)
	for {
		page := got(request.Execute())
		for _, booking := range page.Items {
			pages = append(pages, strconv.FormatInt(booking.Id, 10))
		}
		if page.Next == nil {
			break
		}
		request = request.After(*page.Next)
	}
	booking := got(reader.GetBooking(ctx, last).Execute())
	event := got(reader.GetDecision(ctx, os.Args[3], os.Args[4]).Execute())
	_, _, err := reader.GetMachine(ctx, "nosuch").Execute()
	var failure *openapi.GenericOpenAPIError
	if !errors.As(err, &failure) {
		panic(err)
	}
	must(0, json.NewEncoder(os.Stdout).Encode(map[string]any{
		"series": series, "pages": pages,
		"last":    strconv.FormatInt(booking.Id, 10),
		"start":   booking.Start.Unix(),
		"state":   booking.State,
		"event":   event.Type + " " + strconv.FormatInt(event.Data.Booking.Id, 10),
		"time_ms": event.Time.UnixMilli(),
		"offset":  event.Data.Request.Offset,
		"problem": failure.Model().(openapi.Problem).Type,
	}))
}
