package main

import (
	"fmt"
	"io"
	"io/ioutil"
	"net"
	"net/http"
	"os"
	"time"
)

// pair gives the two ends of a connection.
func pair(network, address string) (net.Conn, net.Conn) {
	listener, err := net.Listen(network, address)
	check(err)
	defer listener.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			conn = nil
		}
		accepted <- conn
	}()
	near, err := net.Dial(network, listener.Addr().String())
	check(err)
	far := <-accepted
	if far == nil {
		panic("accept failed")
	}
	return near, far
}

// bytePingPong sends a byte to and fro.
func bytePingPong(network, address string) float64 {
	near, far := pair(network, address)
	defer near.Close()
	defer far.Close()
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := io.ReadFull(far, b); err != nil {
				return
			}
			if _, err := far.Write(b); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 1)
	return each(func(n int) {
		for i := 0; i < n; i++ {
			_, err := near.Write(b)
			check(err)
			_, err = io.ReadFull(near, b)
			check(err)
		}
	})
}

func tcpPingPong() float64 { return bytePingPong("tcp", "127.0.0.1:0") }

func unixPingPong() float64 {
	path := fmt.Sprintf("/tmp/micro-%d.sock", os.Getpid())
	os.Remove(path)
	defer os.Remove(path)
	return bytePingPong("unix", path)
}

func udpPingPong() float64 {
	far, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(err)
	defer far.Close()
	near, err := net.Dial("udp", far.LocalAddr().String())
	check(err)
	defer near.Close()
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := far.ReadFrom(b)
			if err != nil {
				return
			}
			far.WriteTo(b[:n], from)
		}
	}()
	b := make([]byte, 1)
	return each(func(n int) {
		for i := 0; i < n; i++ {
			_, err := near.Write(b)
			check(err)
			_, err = near.Read(b)
			check(err)
		}
	})
}

// tcpBulk pushes 64-KiB writes through the loopback for half a second.
func tcpBulk() []result {
	near, far := pair("tcp", "127.0.0.1:0")
	defer far.Close()
	go func() {
		b := make([]byte, 64<<10)
		for start := time.Now(); time.Since(start) < 500*time.Millisecond; {
			if _, err := near.Write(b); err != nil {
				break
			}
		}
		near.Close()
	}()
	b := make([]byte, 64<<10)
	total, start := 0, time.Now()
	for {
		n, err := far.Read(b)
		total += n
		if err != nil {
			break
		}
	}
	return []result{{"tcp_lo_bulk", float64(total) / 1e6 / time.Since(start).Seconds(), "MB/s"}}
}

// httpLoopback holds client and server in one program.
func httpLoopback() []result {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer listener.Close()
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "Hello, world!\n")
	}))
	url := "http://" + listener.Addr().String() + "/hello"
	requests := func(transport *http.Transport) float64 {
		client := &http.Client{Transport: transport}
		return each(func(n int) {
			for i := 0; i < n; i++ {
				response, err := client.Get(url)
				check(err)
				_, err = io.Copy(ioutil.Discard, response.Body)
				check(err)
				response.Body.Close()
			}
		})
	}
	return []result{
		{"http_lo_keepalive", requests(&http.Transport{}), "ns"},
		{"http_lo_new_conn", requests(&http.Transport{DisableKeepAlives: true}), "ns"},
	}
}
