// The server that is measured: plain net/http, standard library only, Go 1.16 and later.
//
// The first thing main does is print a line for the harness,
//
//	READY tsc=<time stamp counter> boot_ns=<CLOCK_BOOTTIME> cpu_ns=<CPU time of the process>
//
// then it serves
//
//	/hello    14 bytes
//	/big      1 MiB, the letters a to z over and over
//	/echo     the body of the request, at most 1 MiB
//	/slow     14 bytes in two halves, ?ms= apart (at most 10 s)
//	/memory   what the program and its kernel say about memory; ?gc=1 gives back the program's
//	          free memory first
//
// Arguments: [address], by default :8080.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

var hello = []byte("Hello, world!\n")

const bigSize = 1 << 20

// longestPause bounds what a client may ask of /slow.
const longestPause = 10 * time.Second

func main() {
	printReady()
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { w.Write(hello) })
	http.HandleFunc("/big", sendBig)
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/slow", slow)
	http.HandleFunc("/memory", memory)
	address := ":8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	log.Fatal(http.ListenAndServe(address, nil))
}

// big is made when it is first asked for: a machine of 16 MiB has no room to spare for it.
var (
	big     []byte
	bigOnce sync.Once
)

func sendBig(w http.ResponseWriter, r *http.Request) {
	bigOnce.Do(func() {
		big = bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz"), bigSize/26+1)[:bigSize]
	})
	w.Header().Set("Content-Length", strconv.Itoa(len(big)))
	w.Write(big)
}

// echo reads the whole body first: net/http may drop the rest of a request once an answer begins.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bigSize))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(body)
}

func slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.FormValue("ms"))
	pause := time.Duration(ms) * time.Millisecond
	if err != nil || pause < 0 || pause > longestPause {
		http.Error(w, "ms wants a number of milliseconds up to 10000", http.StatusBadRequest)
		return
	}
	half := len(hello) / 2
	w.Header().Set("Content-Length", strconv.Itoa(len(hello)))
	w.Write(hello[:half])
	w.(http.Flusher).Flush()
	time.Sleep(pause)
	w.Write(hello[half:])
}
