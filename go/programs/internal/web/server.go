// Package web is the web server and the web client that the test programs share: the same checks
// run within one process over loopback, between two machines, and on Linux.
package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Name is the host name that the self-made certificate is for.
const Name = "server.test"

// NewCertificate makes a certificate for Name, signed by itself, and its PEM form.
func NewCertificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: Name},
		DNSNames:              []string{Name},
		NotBefore:             time.Now().Add(-24 * time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, encoded, nil
}

// Handler answers the paths that the client asks for. The certificate is given out so that a
// client that reaches the server over plain HTTP can check its TLS side.
func Handler(certificate []byte) http.Handler {
	started := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "hello from %s over %s, up %s\n", runtime.Version(), r.Proto, time.Since(started))
	})
	mux.HandleFunc("/certificate", func(w http.ResponseWriter, r *http.Request) { w.Write(certificate) })
	mux.HandleFunc("/protocol", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n := number(r, "n", 1024)
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.Write(Pattern(n))
	})
	mux.HandleFunc("/pieces", pieces)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(number(r, "ms", 50)) * time.Millisecond)
		io.WriteString(w, "slept")
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, r.FormValue("path")) })
	mux.HandleFunc("/memory", memory)
	mux.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) {
		code := number(r, "code", 0)
		io.WriteString(w, "ending")
		time.AfterFunc(50*time.Millisecond, func() { os.Exit(code) })
	})
	return mux
}

// echo reads everything first: over HTTP/1.1 the first byte of a reply ends the request's body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(body)
}

// pieces sends ten chunks, each flushed by itself.
func pieces(w http.ResponseWriter, r *http.Request) {
	flusher, ok := w.(http.Flusher)
	if !ok {
		http.Error(w, "cannot flush", http.StatusInternalServerError)
		return
	}
	for i := 0; i < 10; i++ {
		fmt.Fprintf(w, "piece %d\n", i)
		flusher.Flush()
		time.Sleep(time.Millisecond)
	}
}

// memory tells the free memory of the machine and the heap of the program, in bytes, after a
// collection that has given back what it can.
func memory(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("collect") != "" {
		freeMemory()
	}
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	unit := uint64(info.Unit)
	fmt.Fprintf(w, "{\"total\":%d,\"free\":%d,\"heap\":%d,\"from_system\":%d,\"goroutines\":%d}\n",
		info.Totalram*unit, info.Freeram*unit, stats.HeapInuse, stats.Sys-stats.HeapReleased,
		runtime.NumGoroutine())
}

func number(r *http.Request, name string, otherwise int) int {
	value, err := strconv.Atoi(r.FormValue(name))
	if err != nil || value < 0 {
		return otherwise
	}
	return value
}

// Pattern is a body of n bytes in which every wrong, lost or doubled piece shows.
func Pattern(n int) []byte {
	var body bytes.Buffer
	body.Grow(n + 16)
	for i := 0; body.Len() < n; i++ {
		fmt.Fprintf(&body, "%07x ", i)
	}
	return body.Bytes()[:n]
}

// Serve answers on both listeners (the second with TLS and HTTP/2) and returns the first error.
func Serve(plain, secure net.Listener) error {
	certificate, encoded, err := NewCertificate()
	if err != nil {
		return err
	}
	handler := Handler(encoded)
	errors := make(chan error, 2)
	go func() { errors <- (&http.Server{Handler: handler}).Serve(plain) }()
	go func() {
		server := &http.Server{
			Handler:   handler,
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		}
		errors <- server.ServeTLS(secure, "", "")
	}()
	return <-errors
}
