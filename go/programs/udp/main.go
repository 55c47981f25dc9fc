// UDP over loopback: datagrams of all sizes, both families, connected and not, deadlines, a port
// that nobody listens on, an echo under load.
//
//	udp            as above
//	udp -serve A   an echo server on the address, for a client outside; ends on the datagram "end"
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	serve := flag.String("serve", "", "address of an echo server")
	flag.Parse()
	if *serve != "" {
		if err := echoServer(*serve); err != nil {
			fmt.Fprintln(os.Stderr, "udp:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		host := host
		check.Within("sizes "+host, time.Minute, func() { sizes(host) })
		check.Within("load "+host, time.Minute, func() { load(host) })
	}
	check.Within("deadline", time.Minute, deadline)
	check.Within("refused", time.Minute, refused)
	check.Within("wildcard", time.Minute, wildcard)
	check.Done()
}

func echoServer(address string) error {
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	fmt.Println("udp echo on", packets.LocalAddr())
	buffer := make([]byte, 65536)
	for {
		n, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if _, err := packets.WriteTo(buffer[:n], from); err != nil {
			return err
		}
		if string(buffer[:n]) == "end" {
			return nil
		}
	}
}

func listen(host string) net.PacketConn {
	packets, err := net.ListenPacket("udp", host+":0")
	check.Must("listen "+host, err)
	return packets
}

func echo(packets net.PacketConn) {
	buffer := make([]byte, 65536)
	for {
		n, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		packets.WriteTo(buffer[:n], from)
	}
}

func sizes(host string) {
	packets := listen(host)
	defer packets.Close()
	go echo(packets)
	connection, err := net.Dial("udp", packets.LocalAddr().String())
	check.Must("dial "+host, err)
	defer connection.Close()
	buffer := make([]byte, 65536)
	for _, n := range []int{0, 1, 512, 1472, 1473, 9000, 32768} {
		want := bytes.Repeat([]byte{byte(n)}, n)
		if _, err := connection.Write(want); err != nil {
			check.That("sizes "+host, false, n, " bytes: ", err)
			return
		}
		connection.SetReadDeadline(time.Now().Add(20 * time.Second))
		got, err := connection.Read(buffer)
		if err != nil || !bytes.Equal(buffer[:got], want) {
			check.That("sizes "+host, false, n, " bytes: got ", got, " ", err)
			return
		}
	}
	check.That("sizes "+host, true)
	_, err = connection.Write(make([]byte, 65536))
	check.That("too large "+host, err != nil)
	// A datagram longer than the buffer is cut.
	connection.Write([]byte("a longer datagram"))
	got, err := connection.Read(buffer[:5])
	check.That("cut "+host, err == nil && string(buffer[:got]) == "a lon", got, " ", err)
}

func load(host string) {
	packets := listen(host)
	defer packets.Close()
	go echo(packets)
	var group sync.WaitGroup
	failures := make(chan error, 8)
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			connection, err := net.Dial("udp", packets.LocalAddr().String())
			if err != nil {
				failures <- err
				return
			}
			defer connection.Close()
			buffer := make([]byte, 64)
			for n := 0; n < 200; n++ {
				want := fmt.Sprintf("%d %d", i, n)
				connection.Write([]byte(want))
				connection.SetReadDeadline(time.Now().Add(20 * time.Second))
				got, err := connection.Read(buffer)
				if err != nil || string(buffer[:got]) != want {
					failures <- fmt.Errorf("want %q, got %q, %v", want, buffer[:got], err)
					return
				}
			}
		}(i)
	}
	group.Wait()
	close(failures)
	check.NoError("load "+host, <-failures)
}

func deadline() {
	packets := listen("127.0.0.1")
	defer packets.Close()
	start := time.Now()
	packets.SetReadDeadline(start.Add(50 * time.Millisecond))
	_, _, err := packets.ReadFrom(make([]byte, 10))
	timeout, ok := err.(net.Error)
	check.That("deadline", ok && timeout.Timeout() && time.Since(start) >= 50*time.Millisecond, err)
	closed := make(chan error, 1)
	packets.SetReadDeadline(time.Time{})
	go func() {
		_, _, err := packets.ReadFrom(make([]byte, 10))
		closed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	packets.Close()
	check.That("close wakes the reader", <-closed != nil)
}

// refused: the machine itself answers with an ICMP error, which the connected socket reports.
func refused() {
	packets := listen("127.0.0.1")
	address := packets.LocalAddr().String()
	packets.Close()
	connection, err := net.Dial("udp", address)
	check.Must("refused: dial", err)
	defer connection.Close()
	connection.Write([]byte("anybody?"))
	connection.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = connection.Read(make([]byte, 10))
	check.That("refused", err != nil && bytes.Contains([]byte(err.Error()), []byte("connection refused")), err)
}

func wildcard() {
	packets, err := net.ListenPacket("udp", ":0")
	check.Must("wildcard: listen", err)
	defer packets.Close()
	go echo(packets)
	port := packets.LocalAddr().(*net.UDPAddr).Port
	for _, host := range []string{"127.0.0.1", "::1"} {
		connection, err := net.Dial("udp", net.JoinHostPort(host, fmt.Sprint(port)))
		check.Must("wildcard: dial "+host, err)
		connection.Write([]byte("here"))
		buffer := make([]byte, 10)
		connection.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := connection.Read(buffer)
		check.That("wildcard: "+host, err == nil && string(buffer[:n]) == "here", err)
		connection.Close()
	}
}
