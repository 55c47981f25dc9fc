module github.com/eggos/eggos/go/modules/tests

go 1.26.0

require (
	github.com/creack/pty v1.1.24
	github.com/fsnotify/fsnotify v1.10.1
	github.com/gofrs/flock v0.13.2
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.50.0
)
