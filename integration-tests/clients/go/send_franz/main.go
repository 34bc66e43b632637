// usage: send_franz BROKERS TOPIC KEY...; see ../../README.md
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]))
	if err != nil {
		panic(err)
	}
	seen := map[string]int32{}
	for _, key := range os.Args[3:] {
		record := &kgo.Record{Topic: os.Args[2], Key: []byte(key)}
		if err := client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
			panic(err)
		}
		seen[key] = record.Partition
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		panic(err)
	}
}
