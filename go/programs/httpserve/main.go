// HTTP/1.1, TLS with a self-made certificate and HTTP/2.
//
//	httpserve                                     server and client in one process, over loopback
//	httpserve -serve [-http :80] [-https :443]    the server alone, until /exit?code=N is asked for
//	httpserve -client -http host:port -https ...  the client alone, against such a server
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/eggos/eggos/go/programs/internal/check"
	"github.com/eggos/eggos/go/programs/internal/web"
)

func main() {
	serve := flag.Bool("serve", false, "only serve")
	client := flag.Bool("client", false, "only ask")
	plain := flag.String("http", ":80", "address for HTTP")
	secure := flag.String("https", ":443", "address for HTTPS")
	flag.Parse()
	switch {
	case *serve:
		fail(serveOn(*plain, *secure, true))
	case *client:
		web.Drive(*plain, *secure)
	default:
		itself()
	}
	check.Done()
}

func serveOn(plain, secure string, tell bool) error {
	first, err := net.Listen("tcp", plain)
	if err != nil {
		return err
	}
	second, err := net.Listen("tcp", secure)
	if err != nil {
		return err
	}
	if tell {
		fmt.Println("httpserve", runtime.Version(), "listening on", first.Addr(), "and", second.Addr())
	}
	return web.Serve(first, second)
}

func itself() {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		first, err := net.Listen("tcp", host+":0")
		check.Must("listen "+host, err)
		second, err := net.Listen("tcp", host+":0")
		check.Must("listen "+host+" again", err)
		go func() { check.NoError("serve", web.Serve(first, second)) }()
		web.Drive(first.Addr().String(), second.Addr().String())
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "httpserve:", err)
	os.Exit(1)
}
