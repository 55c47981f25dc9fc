// A small web server, the demonstration of `make run`: nothing here knows about eggos.
//
// Arguments: [-listen address]. `/` greets with the Go version and the time since start.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime"
	"time"
)

func main() {
	address := flag.String("listen", ":80", "address to listen on")
	flag.Parse()
	started := time.Now()

	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "Hello from %s, up %s.\n", runtime.Version(),
			time.Since(started).Round(time.Microsecond))
	})

	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("hello (%s) listening on %s\n", runtime.Version(), listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
