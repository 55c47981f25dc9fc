package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// Drive checks the server at the two addresses: HTTP/1.1, TLS and HTTP/2.
func Drive(plain, secure string) {
	one := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: time.Minute}
	check.Within("server is up", 2*time.Minute, func() { waitFor(one, "http://"+plain+"/") })
	drive("http/1.1", one, "http://"+plain, "HTTP/1.1")
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	drive("http/1.1, a connection each", fresh, "http://"+plain, "HTTP/1.1")
	check.Within("raw", 2*time.Minute, func() { raw(plain) })

	roots := x509.NewCertPool()
	certificate, err := get(one, "http://"+plain+"/certificate")
	check.Must("certificate", err)
	check.That("certificate: is PEM", roots.AppendCertsFromPEM(certificate))
	tlsOne := secureClient(secure, roots, false)
	drive("https, HTTP/1.1", tlsOne, "https://"+Name, "HTTP/1.1")
	two := secureClient(secure, roots, true)
	drive("https, HTTP/2", two, "https://"+Name, "HTTP/2.0")
	distrust := secureClient(secure, x509.NewCertPool(), true)
	_, err = get(distrust, "https://"+Name+"/")
	check.That("https: an unknown signer is refused", err != nil && strings.Contains(err.Error(), "unknown authority"), err)
}

// secureClient dials the address whatever the name in the URL says, so that no resolver is needed.
func secureClient(address string, roots *x509.CertPool, two bool) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2:   two,
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		},
	}
	if !two {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &http.Client{Transport: transport, Timeout: 2 * time.Minute}
}

func waitFor(client *http.Client, url string) {
	var err error
	for attempt := 0; attempt < 300; attempt++ {
		if _, err = get(client, url); err == nil {
			check.That("server is up", true)
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	check.Must("server is up", err)
}

func get(client *http.Client, url string) ([]byte, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", response.Status)
	}
	return body, err
}

func drive(name string, client *http.Client, base, protocol string) {
	check.Within(name, 5*time.Minute, func() {
		body, err := get(client, base+"/protocol")
		check.That(name+": protocol", err == nil && string(body) == protocol, string(body), err)
		sizes(name, client, base)
		echoes(name, client, base)
		body, err = get(client, base+"/pieces")
		check.That(name+": chunks", err == nil && bytes.Count(body, []byte("piece")) == 10, string(body), err)
		_, err = get(client, base+"/missing")
		check.That(name+": 404", err != nil && strings.Contains(err.Error(), "404"), err)
		concurrent(name, client, base)
		client.CloseIdleConnections()
	})
}

func sizes(name string, client *http.Client, base string) {
	for _, n := range []int{0, 1, 1459, 1460, 1461, 65535, 1 << 20} {
		body, err := get(client, fmt.Sprintf("%s/bytes?n=%d", base, n))
		if err != nil || !bytes.Equal(body, Pattern(n)) {
			check.That(name+": sizes", false, n, " bytes: got ", len(body), " ", err)
			return
		}
	}
	check.That(name+": sizes", true)
}

func echoes(name string, client *http.Client, base string) {
	for _, n := range []int{0, 10, 100000, 1 << 20} {
		want := Pattern(n)
		response, err := client.Post(base+"/echo", "application/octet-stream", bytes.NewReader(want))
		if err != nil {
			check.NoError(name+": echo", err)
			return
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.Equal(body, want) {
			check.That(name+": echo", false, n, " bytes: got ", len(body), " ", err)
			return
		}
	}
	check.That(name+": echo", true)
}

func concurrent(name string, client *http.Client, base string) {
	const clients, requests = 16, 8
	var group sync.WaitGroup
	failures := make(chan error, clients*requests)
	for i := 0; i < clients; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for n := 0; n < requests; n++ {
				size := 100*i + n
				body, err := get(client, fmt.Sprintf("%s/bytes?n=%d", base, size))
				if err == nil && !bytes.Equal(body, Pattern(size)) {
					err = fmt.Errorf("%d bytes came back wrong", size)
				}
				if err != nil {
					failures <- err
				}
			}
		}(i)
	}
	group.Wait()
	close(failures)
	var first error
	for err := range failures {
		first = err
	}
	check.NoError(name+": concurrent requests", first)
}

// raw is what http.Client never does: a request byte by byte, requests in a pipeline, a half-closed
// connection, and one that goes away in the middle of a reply.
func raw(address string) {
	connection, err := net.Dial("tcp", address)
	check.Must("raw: dial", err)
	request := "GET /protocol HTTP/1.1\r\nHost: x\r\n\r\n"
	for i := range request {
		if _, err = io.WriteString(connection, request[i:i+1]); err != nil {
			break
		}
	}
	check.NoError("raw: a byte a time", err)
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if check.NoError("raw: a byte a time, reply", err) {
		io.Copy(io.Discard, response.Body)
	}
	_, err = io.WriteString(connection, strings.Repeat(request, 20))
	check.NoError("raw: pipeline", err)
	replies := 0
	for ; replies < 20; replies++ {
		if response, err = http.ReadResponse(reader, nil); err != nil {
			break
		}
		io.Copy(io.Discard, response.Body)
	}
	check.Equal("raw: pipeline replies", replies, 20)
	io.WriteString(connection, "GET /bytes?n=300000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	connection.(*net.TCPConn).CloseWrite()
	rest, err := io.ReadAll(reader)
	check.That("raw: half-closed connection is answered", err == nil && len(rest) > 300000, len(rest), " ", err)
	connection.Close()

	connection, err = net.Dial("tcp", address)
	check.Must("raw: dial again", err)
	io.WriteString(connection, "GET /bytes?n=3000000 HTTP/1.1\r\nHost: x\r\n\r\n")
	io.ReadFull(connection, make([]byte, 1000))
	connection.(*net.TCPConn).SetLinger(0)
	connection.Close()
	_, err = get(http.DefaultClient, "http://"+address+"/protocol")
	check.NoError("raw: the server lives after a reset", err)
}
