// DNS look-ups by Go's own resolver, against a small name server on the loopback of the machine
// itself: A, AAAA, MX, TXT, SRV, PTR, no such name, an answer that only fits TCP, a lost first
// packet, /etc/hosts and numeric addresses.
//
//	dns                       as above
//	dns -lookup NAME [-want ADDRESS]  look one name up by the system's /etc/resolv.conf
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	lookup := flag.String("lookup", "", "name to look up by the system's configuration")
	want := flag.String("want", "", "address that must be among the answers")
	flag.Parse()
	if *lookup != "" {
		bySystem(*lookup, *want)
		check.Done()
	}
	check.Within("dns", 2*time.Minute, loopback)
	check.Done()
}

func bySystem(name, want string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	addresses, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, name)
	check.That("look up "+name, err == nil && len(addresses) > 0, addresses, " ", err)
	found := want == ""
	for _, address := range addresses {
		found = found || address == want
	}
	check.That("look up "+name+": answer", found, addresses)
	fmt.Println(addresses)
}

func loopback() {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	check.Must("listen udp", err)
	address := packets.LocalAddr().String()
	streams, err := net.Listen("tcp", address)
	check.Must("listen tcp", err)
	go servePackets(packets)
	go serveStreams(streams)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address)
	}}
	ctx := context.Background()
	hosts(ctx, resolver, "one.test.", "192.0.2.1 2001:db8::1")
	hosts(ctx, resolver, "two.test.", "192.0.2.1 192.0.2.2")
	hosts(ctx, resolver, "lossy.test.", "192.0.2.9")
	hosts(ctx, resolver, "192.0.2.77", "192.0.2.77")
	hosts(ctx, resolver, "localhost", "127.0.0.1")
	addresses, err := resolver.LookupHost(ctx, "large.test.")
	check.That("answer over TCP", err == nil && len(addresses) == 100, len(addresses), " ", err)
	_, err = resolver.LookupHost(ctx, "missing.test.")
	missing, ok := err.(*net.DNSError)
	check.That("no such name", ok && missing.IsNotFound, err)
	records(ctx, resolver)
	many(ctx, resolver)
}

func hosts(ctx context.Context, resolver *net.Resolver, name, want string) {
	addresses, err := resolver.LookupHost(ctx, name)
	sort.Strings(addresses)
	got := strings.Join(addresses, " ")
	if name == "localhost" {
		check.That("look up localhost in /etc/hosts", err == nil && strings.Contains(got, want), got, " ", err)
		return
	}
	check.That("look up "+name, err == nil && got == want, got, " ", err)
}

func records(ctx context.Context, resolver *net.Resolver) {
	mx, err := resolver.LookupMX(ctx, "one.test.")
	check.That("MX", err == nil && len(mx) == 1 && mx[0].Host == "mail.test." && mx[0].Pref == 10, mx, " ", err)
	txt, err := resolver.LookupTXT(ctx, "one.test.")
	check.That("TXT", err == nil && len(txt) == 1 && txt[0] == "some text", txt, " ", err)
	_, srv, err := resolver.LookupSRV(ctx, "web", "tcp", "one.test.")
	check.That("SRV", err == nil && len(srv) == 1 && srv[0].Port == 8080 && srv[0].Target == "one.test.", srv, " ", err)
	names, err := resolver.LookupAddr(ctx, "192.0.2.1")
	check.That("PTR", err == nil && len(names) == 1 && names[0] == "one.test.", names, " ", err)
}

func many(ctx context.Context, resolver *net.Resolver) {
	results := make(chan error, 50)
	for i := 0; i < 50; i++ {
		go func() {
			_, err := resolver.LookupHost(ctx, "two.test.")
			results <- err
		}()
	}
	var first error
	for i := 0; i < 50; i++ {
		if err := <-results; err != nil {
			first = err
		}
	}
	check.NoError("50 look-ups at once", first)
}

var lost int32

func servePackets(packets net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		q, err := parse(append([]byte(nil), buffer[:n]...))
		if err != nil {
			continue
		}
		// The first question for this name gets no answer: the resolver must ask again (5 s).
		if q.name == "lossy.test." && atomic.AddInt32(&lost, 1) == 1 {
			continue
		}
		answer := answer(q)
		if len(answer) > 512 {
			answer = reply(q, flagTruncated, nil)
		}
		packets.WriteTo(answer, from)
	}
}

func serveStreams(streams net.Listener) {
	for {
		connection, err := streams.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			for {
				var length [2]byte
				if _, err := io.ReadFull(connection, length[:]); err != nil {
					return
				}
				message := make([]byte, binary.BigEndian.Uint16(length[:]))
				if _, err := io.ReadFull(connection, message); err != nil {
					return
				}
				q, err := parse(message)
				if err != nil {
					return
				}
				answer := answer(q)
				binary.BigEndian.PutUint16(length[:], uint16(len(answer)))
				if _, err := connection.Write(append(length[:], answer...)); err != nil {
					return
				}
			}
		}()
	}
}

// zone is everything this server knows.
var zone = map[string][]record{
	"one.test.": {
		{typeA, []byte{192, 0, 2, 1}}, {typeAAAA, net.ParseIP("2001:db8::1")},
		{typeMX, append([]byte{0, 10}, wireName("mail.test.")...)},
		{typeTXT, append([]byte{9}, "some text"...)},
	},
	"two.test.":               {{typeA, []byte{192, 0, 2, 1}}, {typeA, []byte{192, 0, 2, 2}}},
	"lossy.test.":             {{typeA, []byte{192, 0, 2, 9}}},
	"large.test.":             large(),
	"_web._tcp.one.test.":     {{typeSRV, append([]byte{0, 0, 0, 0, 0x1f, 0x90}, wireName("one.test.")...)}},
	"1.2.0.192.in-addr.arpa.": {{typePTR, wireName("one.test.")}},
}

func large() (records []record) {
	for i := byte(0); i < 100; i++ {
		records = append(records, record{typeA, []byte{198, 51, 100, i}})
	}
	return records
}

func answer(q question) []byte {
	records, known := zone[q.name]
	if !known {
		return reply(q, responseCodeName, nil)
	}
	var answers []record
	for _, r := range records {
		if r.kind == q.kind {
			answers = append(answers, r)
		}
	}
	return reply(q, 0, answers)
}
