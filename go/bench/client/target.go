package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// target is the server under test.
type target struct {
	address  string
	patience time.Duration
}

// link is one connection, with every operation bounded by the target's patience.
type link struct {
	*net.TCPConn
	target
	reader *bufio.Reader
}

func (t target) dial() (*link, error) {
	conn, err := net.DialTimeout("tcp", t.address, t.patience)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	return &link{tcp, t, bufio.NewReader(tcp)}, tcp.SetDeadline(time.Now().Add(t.patience))
}

// ask sends a request without a body.
func (l *link) ask(path string) error {
	return l.send(request("GET", path, ""))
}

func (l *link) send(text string) error {
	if err := l.SetDeadline(time.Now().Add(l.patience)); err != nil {
		return err
	}
	_, err := io.WriteString(l, text)
	return err
}

func request(method, path, body string) string {
	length := ""
	if body != "" {
		length = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return method + " " + path + " HTTP/1.1\r\nHost: guest\r\n" + length + "\r\n" + body
}

// answer reads one response and compares its body.
func (l *link) answer(want []byte) error {
	response, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("a body of %d bytes differs from the %d expected", len(got), len(want))
	}
	return nil
}

// reset closes the connection by RST.
func (l *link) reset() error {
	if err := l.SetLinger(0); err != nil {
		return err
	}
	return l.Close()
}

var (
	hello = []byte("Hello, world!\n")
	big   = []byte(strings.Repeat("abcdefghijklmnopqrstuvwxyz", 1<<20/26+1)[:1<<20])
)

func replacePort(address string, port int) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address // dialling it will say what is wrong
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
