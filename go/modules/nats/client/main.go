// The client half of the NATS test: subscribes and publishes through the server at the address
// given, checks that every message arrives once, in order and unchanged, that a request finds its
// responder, and that a message of 512 KiB survives. Exits 0 only if everything held.
package main

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

const messages = 10000

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: client nats://host:port")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL", err)
		os.Exit(1)
	}
	fmt.Println("ok nats")
}

func run(url string) error {
	subscriber, err := connect(url)
	if err != nil {
		return err
	}
	defer subscriber.Close()
	publisher, err := connect(url)
	if err != nil {
		return err
	}
	defer publisher.Close()
	if err := ordered(subscriber, publisher); err != nil {
		return err
	}
	if err := request(subscriber, publisher); err != nil {
		return err
	}
	return large(subscriber, publisher)
}

// connect tries for a minute: the server may still be starting.
func connect(url string) (*nats.Conn, error) {
	var err error
	for attempt := 0; attempt < 120; attempt++ {
		var connection *nats.Conn
		connection, err = nats.Connect(url, nats.Timeout(20*time.Second))
		if err == nil {
			return connection, nil
		}
		time.Sleep(500 * time.Millisecond)
	}
	return nil, fmt.Errorf("connect: %w", err)
}

func ordered(subscriber, publisher *nats.Conn) error {
	subscription, err := subscriber.SubscribeSync("numbers")
	if err != nil {
		return err
	}
	if err := subscriber.FlushTimeout(time.Minute); err != nil {
		return fmt.Errorf("flush subscription: %w", err)
	}
	for i := 0; i < messages; i++ {
		if err := publisher.Publish("numbers", []byte(fmt.Sprint(i))); err != nil {
			return err
		}
	}
	if err := publisher.FlushTimeout(time.Minute); err != nil {
		return fmt.Errorf("flush messages: %w", err)
	}
	for i := 0; i < messages; i++ {
		message, err := subscription.NextMsg(time.Minute)
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if string(message.Data) != fmt.Sprint(i) {
			return fmt.Errorf("message %d: got %q", i, message.Data)
		}
	}
	fmt.Println("ok publish and subscribe:", messages, "messages in order")
	return subscription.Unsubscribe()
}

func request(subscriber, publisher *nats.Conn) error {
	_, err := subscriber.Subscribe("question", func(message *nats.Msg) {
		_ = message.Respond(append([]byte("answer to "), message.Data...))
	})
	if err != nil {
		return err
	}
	if err := subscriber.FlushTimeout(time.Minute); err != nil {
		return err
	}
	reply, err := publisher.Request("question", []byte("life"), time.Minute)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if string(reply.Data) != "answer to life" {
		return fmt.Errorf("request: got %q", reply.Data)
	}
	fmt.Println("ok request and reply")
	return nil
}

func large(subscriber, publisher *nats.Conn) error {
	subscription, err := subscriber.SubscribeSync("large")
	if err != nil {
		return err
	}
	if err := subscriber.FlushTimeout(time.Minute); err != nil {
		return err
	}
	payload := bytes.Repeat([]byte("0123456789abcdef"), 32*1024)
	if err := publisher.Publish("large", payload); err != nil {
		return err
	}
	message, err := subscription.NextMsg(time.Minute)
	if err != nil {
		return fmt.Errorf("large message: %w", err)
	}
	if !bytes.Equal(message.Data, payload) {
		return fmt.Errorf("large message: %d bytes came back different", len(message.Data))
	}
	fmt.Println("ok a message of 512 KiB")
	return nil
}
