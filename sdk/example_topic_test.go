package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"dq/sdk"
)

// startTopic starts a broker for an example and creates a topic.
func startTopic(name string) (topic *sdk.Topic, stop func()) {
	address, stopBroker := startBroker()
	client, err := sdk.New(address)
	if err != nil {
		log.Fatal(err)
	}

	topic = client.Topic(name)
	if _, _, err := topic.Create(context.Background(), sdk.PartialSettings{}); err != nil {
		log.Fatal(err)
	}
	return topic, func() {
		client.Close()
		stopBroker()
	}
}

func ExampleTopic() {
	address, stop := startBroker()
	defer stop()
	ctx := context.Background()
	client, err := sdk.New(address) // and sdk.WithToken("..."), if the broker wants one
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	orders := client.Topic("orders")
	settings := sdk.PartialSettings{MaxAge: new(24 * time.Hour), WhenFull: new(sdk.RefuseNew)}
	info, created, err := orders.Create(ctx, settings)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(created, info.Settings.MaxAge, info.Settings.WhenFull)

	receipt, err := orders.Produce(ctx, sdk.NewMessage{
		Data: []byte(`{"id":7}`), Key: "eu", ContentType: "application/json", IdempotencyKey: "order-7",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.Sequence)

	for info, err := range client.ListTopics(ctx, "o") {
		fmt.Println(info.Name, info.Messages, err)
	}
	// Output:
	// true 24h0m0s refuse_new
	// 1
	// orders 1 <nil>
}

func ExampleTopic_ProduceBatch() {
	orders, stop := startTopic("orders")
	defer stop()
	ctx := context.Background()
	batch := []sdk.NewMessage{sdk.Text("one"), sdk.Text("two")}

	receipts, err := orders.ProduceBatch(ctx, batch, sdk.Atomically(), sdk.IfLastSequence(0))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipts[0].Sequence, receipts[1].Sequence)

	_, err = orders.ProduceBatch(ctx, batch, sdk.Atomically(), sdk.IfLastSequence(0))
	fmt.Println(errors.Is(err, sdk.ErrWrongLastSequence))

	for range 2 { // the second call stores nothing
		receipts, err = orders.ProduceBatch(ctx, batch, sdk.WithIdempotencyKey("upload-9"))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(receipts[1].Sequence, receipts[1].Duplicate)
	}
	// Output:
	// 1 2
	// true
	// 4 false
	// 4 true
}

func ExampleTopic_Records() {
	orders, stop := startTopic("orders")
	defer stop()
	ctx := context.Background()
	for _, key := range []string{"eu", "us", "eu"} {
		if _, err := orders.Produce(ctx, sdk.NewMessage{Key: key, Data: []byte("an order")}); err != nil {
			log.Fatal(err)
		}
	}

	for record, err := range orders.Records(ctx, sdk.Selection{From: sdk.AtSequence(2), Key: "eu"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s\n", record.Sequence, record.Data)
	}
	// Output:
	// 3 an order
}

func ExampleTopic_Stream() {
	orders, stop := startTopic("orders")
	defer stop()
	ctx := context.Background()
	if _, err := orders.ProduceBatch(ctx, []sdk.NewMessage{sdk.Text("one"), sdk.Text("two")}); err != nil {
		log.Fatal(err)
	}

	for record, err := range orders.Stream(ctx, sdk.Selection{From: sdk.AtFirst}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", record.Data)
		if record.Sequence == 2 {
			break // otherwise it goes on until ctx ends
		}
	}
	// Output:
	// one
	// two
}

func ExampleSubscription() {
	orders, stop := startTopic("orders")
	defer stop()
	ctx := context.Background()
	billing, err := orders.Subscribe(ctx, sdk.ConsumerSpec{
		Name: "billing", Mode: sdk.ModeLease, MaxDeliveries: 5, DeadLetterTopic: "failed",
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := orders.Produce(ctx, sdk.Text("one")); err != nil {
		log.Fatal(err)
	}

	for { // other workers take part with orders.Subscription("billing")
		records, err := billing.Fetch(ctx, sdk.Limits{Messages: 10, Wait: 20 * time.Second})
		if err != nil {
			log.Fatal(err)
		}
		for _, record := range records {
			fmt.Printf("%s, delivery %d\n", record.Data, record.Deliveries)
			if record.Deliveries == 1 {
				err = billing.Nack(ctx, 0, record.Token)
			} else {
				err = billing.Ack(ctx, record.Token)
			}
			if err != nil {
				log.Fatal(err)
			}
		}

		info, err := billing.Describe(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if info.Size == 0 {
			break
		}
	}

	if _, err := billing.Seek(ctx, sdk.AtFirst); err != nil { // deliver all messages again
		log.Fatal(err)
	}
	info, err := billing.Describe(ctx)
	fmt.Println(info.Lag, err)
	// Output:
	// one, delivery 1
	// one, delivery 2
	// 1 <nil>
}

func ExampleSubscription_Consume() {
	orders, stop := startTopic("orders")
	defer stop()
	ctx, cancel := context.WithCancel(context.Background()) // or signal.NotifyContext
	defer cancel()
	billing, err := orders.Subscribe(ctx, sdk.ConsumerSpec{Name: "billing", Mode: sdk.ModeLease})
	if err != nil {
		log.Fatal(err)
	}
	messages := []sdk.NewMessage{sdk.Text("one"), sdk.Text("two"), sdk.Text("three")}
	if _, err := orders.ProduceBatch(ctx, messages); err != nil {
		log.Fatal(err)
	}

	err = billing.Consume(ctx, func(_ context.Context, record sdk.Record) error {
		fmt.Printf("%s\n", record.Data)
		if record.Sequence == 3 {
			cancel()
		}
		return nil // acknowledges it
	}, sdk.WithConcurrency(1), sdk.WithPrefetch(100))
	if err != nil {
		log.Fatal(err)
	}

	info, err := billing.Describe(context.Background())
	fmt.Println(info.Size, err)
	// Output:
	// one
	// two
	// three
	// 0 <nil>
}

func ExampleSubscription_Stream() {
	orders, stop := startTopic("orders")
	defer stop()
	ctx := context.Background()
	audit, err := orders.Subscribe(ctx, sdk.ConsumerSpec{Start: sdk.AtFirst})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := orders.Produce(ctx, sdk.Text("one")); err != nil {
		log.Fatal(err)
	}

	for record, err := range audit.Stream(ctx) {
		fmt.Printf("%s %v\n", record.Data, err)
		break
	}
	// Output:
	// one <nil>
}

func ExampleAsyncProducer() {
	orders, stop := startTopic("orders")
	defer stop()
	ctx := context.Background()
	producer := sdk.NewAsyncProducer(orders, sdk.WithReport(func(r sdk.AsyncResult) {
		fmt.Printf("%s is at %d, %v\n", r.Message.Data, r.Receipt.Sequence, r.Err)
	}))

	for i := range 3 {
		if err := producer.Send(ctx, sdk.Text(fmt.Sprint("order ", i))); err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// order 0 is at 1, <nil>
	// order 1 is at 2, <nil>
	// order 2 is at 3, <nil>
}
