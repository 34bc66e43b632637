// usage: send_kafkago BROKERS TOPIC KEY...; see ../../README.md
package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

func main() {
	seen := map[string]int{}
	writer := &kafka.Writer{
		Addr: kafka.TCP(os.Args[1]), Topic: os.Args[2],
		Balancer: kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
		Completion: func(messages []kafka.Message, err error) {
			for _, message := range messages {
				seen[string(message.Key)] = message.Partition
			}
		},
	}
	for _, key := range os.Args[3:] {
		if err := writer.WriteMessages(context.Background(), kafka.Message{Key: []byte(key)}); err != nil {
			panic(err)
		}
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		panic(err)
	}
}
