// Package tests names packages whose own tests are run in machines.
package tests

import (
	_ "github.com/creack/pty"
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/gofrs/flock"
	_ "golang.org/x/net/ipv4"
	_ "golang.org/x/net/nettest"
	_ "golang.org/x/sys/unix"
)
