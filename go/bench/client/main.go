// The client side of the measurements: traffic that wrk cannot make.
//
//	client many -n 1000 ADDRESS     that many connections at once, each answered, twice
//	client soak -d 10m ADDRESS      connections that come, go, stall and reset
//
// ADDRESS is host:port of ../server. Counts go to standard output as "name value" lines; the exit
// code is 0 when nothing was lost, 1 when something was, 2 for a usage error.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	patience := flags.Duration("patience", 20*time.Second, "how long one answer may take")
	var run func(target) bool
	switch os.Args[1] {
	case "many":
		count := flags.Int("n", 1000, "connections")
		run = func(t target) bool { return many(t, *count) }
	case "soak":
		span := flags.Duration("d", 10*time.Minute, "duration")
		pause := flags.Duration("pause", 20*time.Millisecond, "pause of a worker after each piece of work")
		run = func(t target) bool { return soak(t, *span, *pause) }
	default:
		usage()
	}
	flags.Parse(os.Args[2:])
	if flags.NArg() != 1 {
		usage()
	}
	if !run(target{flags.Arg(0), *patience}) {
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: client many|soak [flags] host:port   (-h lists the flags)")
	os.Exit(2)
}
