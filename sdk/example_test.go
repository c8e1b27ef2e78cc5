package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/sdk"
)

// startBroker starts a broker for an example. Yours may be at "127.0.0.1:5000".
func startBroker() (address string, stop func()) {
	b, err := broker.Start(context.Background(), brokertest.Config(""), slog.New(slog.DiscardHandler))
	if err != nil {
		log.Fatal(err)
	}
	return b.URL(), func() { _ = b.Stop(context.Background()) }
}

func Example() {
	address, stop := startBroker()
	defer stop()
	ctx := context.Background()
	client, err := sdk.New(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	producer, err := sdk.NewProducer(ctx, client, "orders", "refunds")
	if err != nil {
		log.Fatal(err)
	}
	topics := []string{"orders", "refunds"}
	consumer, err := sdk.NewConsumer(ctx, client, topics, sdk.WithIdleTimeout(100*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}

	for _, message := range []string{"one", "two"} {
		if err := producer.Send(ctx, "orders", message); err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Send(ctx, "refunds", "three"); err != nil {
		log.Fatal(err)
	}

	for message, err := range consumer.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(message.Topic, message.Text)
	}
	// Output:
	// orders one
	// refunds three
	// orders two
}

func ExampleClient() {
	address, stop := startBroker()
	defer stop()
	ctx := context.Background()
	client, err := sdk.New(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	producer, _ := client.RegisterProducer(ctx, "T1") // creates the topic
	consumer, _ := client.RegisterConsumer(ctx, "T1")
	if err := client.Produce(ctx, "T1", producer, "INFO"); err != nil {
		log.Fatal(err)
	}

	size, _ := client.Size(ctx, "T1", consumer)
	message, _ := client.Consume(ctx, "T1", consumer)
	fmt.Println(size, message)

	_, err = client.Consume(ctx, "T1", consumer)
	fmt.Println(err, errors.Is(err, sdk.ErrEmpty))
	// Output:
	// 1 INFO
	// Empty logs for Comsumer:0 for Topic:T1 true
}

func ExampleError() {
	address, stop := startBroker()
	defer stop()
	client, err := sdk.New(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	_, err = client.RegisterConsumer(context.Background(), "T9")
	if refused, ok := errors.AsType[*sdk.Error](err); ok {
		fmt.Println(refused.Status, refused.Code, refused.Message)
	}
	// Output:
	// 400 topic_not_found Topic:T9 does not exist
}
