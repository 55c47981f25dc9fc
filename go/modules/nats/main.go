// The NATS server, embedded as its documentation shows it. Run-time arguments are those of
// nats-server itself (`-a 0.0.0.0 -p 4222`); it serves until it gets SIGINT or SIGTERM.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	flags := flag.NewFlagSet("nats-server", flag.ExitOnError)
	options, err := server.ConfigureOptions(flags, os.Args[1:],
		func() { fmt.Println("nats-server", server.VERSION) }, flags.Usage, flags.Usage)
	if err != nil {
		fail(err)
	}
	if options == nil {
		return
	}
	natsServer, err := server.NewServer(options)
	if err != nil {
		fail(err)
	}
	natsServer.ConfigureLogger()
	if err := server.Run(natsServer); err != nil {
		fail(err)
	}
	natsServer.WaitForShutdown()
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "nats-server:", err)
	os.Exit(1)
}
