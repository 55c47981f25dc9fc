// A thousand TCP connections over loopback, all open at the same time, each used several times; then
// as many refused, half-closed, reset and timed-out ones. No connection and no byte may be lost.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	connections := flag.Int("connections", 1000, "connections open at the same time")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.Must("listen", err)
	go serve(listener)
	address := listener.Addr().String()
	check.Within("open at once", 5*time.Minute, func() { openAtOnce(address, *connections) })
	check.Within("come and go", 5*time.Minute, func() { comeAndGo(address, *connections) })
	check.Within("half close", time.Minute, func() { halfClose(address) })
	check.Within("reset", time.Minute, func() { reset(address) })
	check.Within("refused", time.Minute, refused)
	check.Within("deadlines", time.Minute, func() { deadlines(address) })
	check.Within("large", 2*time.Minute, func() { large(address) })
	check.Within("close accept", time.Minute, closeAccept)
	check.Within("close queue", time.Minute, closeQueue)
	check.Done()
}

func serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			check.That("accept", false, err)
			return
		}
		go func() {
			defer connection.Close()
			io.Copy(connection, connection)
		}()
	}
}

func exchange(connection net.Conn, text string) error {
	if _, err := io.WriteString(connection, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(connection, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("sent %q, got %q", text, got)
	}
	return nil
}

func openAtOnce(address string, connections int) {
	var ready, finished sync.WaitGroup
	all := make(chan struct{})
	failures := make(chan error, connections)
	for i := 0; i < connections; i++ {
		ready.Add(1)
		finished.Add(1)
		go func(i int) {
			defer finished.Done()
			connection, err := net.Dial("tcp", address)
			ready.Done()
			if err != nil {
				failures <- fmt.Errorf("dial: %v", err)
				return
			}
			defer connection.Close()
			<-all
			for n := 0; n < 5; n++ {
				if err := exchange(connection, fmt.Sprintf("connection %d, message %d", i, n)); err != nil {
					failures <- err
					return
				}
			}
		}(i)
	}
	ready.Wait()
	close(all)
	finished.Wait()
	lost := len(failures)
	var first error
	if lost > 0 {
		first = <-failures
	}
	check.That(fmt.Sprintf("%d connections at once", connections), lost == 0, lost, " lost: ", first)
}

func comeAndGo(address string, connections int) {
	var first error
	for i := 0; i < connections && first == nil; i++ {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			first = err
			break
		}
		first = exchange(connection, "hello")
		connection.Close()
	}
	check.NoError(fmt.Sprintf("%d connections one after the other", connections), first)
}

func halfClose(address string) {
	connection, err := net.Dial("tcp", address)
	check.Must("half close: dial", err)
	defer connection.Close()
	io.WriteString(connection, "last words")
	connection.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(connection)
	check.That("half close: the echo still comes", err == nil && string(got) == "last words", string(got), " ", err)
}

// reset: closing with linger 0 must give the peer ECONNRESET, not an end of file.
func reset(_ string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.Must("reset: listen", err)
	defer listener.Close()
	result := make(chan error, 1)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			result <- err
			return
		}
		_, err = io.ReadAll(connection)
		result <- err
	}()
	connection, err := net.Dial("tcp", listener.Addr().String())
	check.Must("reset: dial", err)
	connection.(*net.TCPConn).SetLinger(0)
	connection.Close()
	err = <-result
	check.That("reset: the peer is told", err != nil && strings.Contains(err.Error(), "connection reset"), err)
}

func refused() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.Must("refused: listen", err)
	address := listener.Addr().String()
	listener.Close()
	_, err = net.Dial("tcp", address)
	check.That("refused", err != nil && strings.Contains(err.Error(), "connection refused"), err)
}

func deadlines(address string) {
	connection, err := net.Dial("tcp", address)
	check.Must("deadlines: dial", err)
	defer connection.Close()
	connection.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	_, err = connection.Read(make([]byte, 1))
	timeout, ok := err.(net.Error)
	check.That("deadlines: read", ok && timeout.Timeout(), err)
	connection.SetReadDeadline(time.Time{})
	check.NoError("deadlines: the connection still works", exchange(connection, "after"))
}

// large: more than any buffer holds, while the reader is slow.
func large(address string) {
	connection, err := net.Dial("tcp", address)
	check.Must("large: dial", err)
	defer connection.Close()
	const size = 8 << 20
	go func() {
		block := make([]byte, 64<<10)
		for sent := 0; sent < size; sent += len(block) {
			for i := range block {
				block[i] = byte((sent + i) * 7 >> 3)
			}
			if _, err := connection.Write(block); err != nil {
				return
			}
		}
		connection.(*net.TCPConn).CloseWrite()
	}()
	time.Sleep(100 * time.Millisecond)
	wrong, at := 0, 0
	block := make([]byte, 10000)
	for {
		n, err := connection.Read(block)
		for i := 0; i < n; i++ {
			if block[i] != byte((at+i)*7>>3) {
				wrong++
			}
		}
		at += n
		if err != nil {
			check.That("large: end of file", err == io.EOF, err)
			break
		}
	}
	check.Equal("large: bytes", at, size)
	check.Equal("large: wrong bytes", wrong, 0)
}

func closeAccept() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.Must("close accept: listen", err)
	result := make(chan error, 1)
	go func() {
		_, err := listener.Accept()
		result <- err
	}()
	time.Sleep(20 * time.Millisecond)
	listener.Close()
	check.That("close accept: the waiter is woken", <-result != nil)
}

// closeQueue: connections that nobody has accepted are reset when their listener goes.
func closeQueue() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.Must("close queue: listen", err)
	connection, err := net.Dial("tcp", listener.Addr().String())
	check.Must("close queue: dial", err)
	defer connection.Close()
	io.WriteString(connection, "nobody reads this")
	listener.Close()
	_, err = connection.Read(make([]byte, 1))
	check.That("close queue: reset", err != nil && strings.Contains(err.Error(), "connection reset"), err)
}
