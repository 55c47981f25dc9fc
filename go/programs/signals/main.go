// Signals. Without an argument, judged by itself:
// Notify, Ignore, Reset, signals to the own process and to threads. With one:
//
//	wait      prints "ready", waits for SIGINT or SIGTERM, exits 0 with SIGINT, 3 with SIGTERM
//	stubborn  prints "ready", ignores SIGINT and SIGTERM and waits
//	window    prints the size of the terminal on standard input, "ready", and the size again with
//	          each SIGWINCH, until that has 41 rows
//	raw       reads from the terminal on standard input with VMIN and VTIME, "xy" after "ready"
//	default   prints "ready", waits; SIGINT ends it by default
//	run       runs until RLIMIT_CPU, of 2 seconds, ends it
//	kill NAME sends itself the signal and dies of it (TERM, INT, KILL, SEGV ...)
//	input     copies standard input lines to output until "end", then exits 0
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	if len(os.Args) > 1 {
		special(os.Args[1:])
		os.Exit(114)
	}
	check.Within("notify", time.Minute, notify)
	check.Within("ignore", time.Minute, ignore)
	check.Within("threads", time.Minute, threads)
	check.Within("storm", 2*time.Minute, storm)
	check.Within("interrupted calls", time.Minute, interrupted)
	check.Within("exists", time.Minute, exists)
	check.Done()
}

func special(arguments []string) {
	switch arguments[0] {
	case "wait":
		received := make(chan os.Signal, 1)
		signal.Notify(received, syscall.SIGINT, syscall.SIGTERM)
		fmt.Println("ready")
		select {
		case s := <-received:
			fmt.Println("received", s)
			if s == syscall.SIGINT {
				os.Exit(0)
			}
			os.Exit(3)
		case <-time.After(5 * time.Minute):
			os.Exit(4)
		}
	case "stubborn":
		signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(5 * time.Minute)
	case "window":
		window()
	case "raw":
		raw()
	case "default":
		fmt.Println("ready")
		time.Sleep(5 * time.Minute)
	case "kill":
		signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL,
			"SEGV": syscall.SIGSEGV, "USR1": syscall.SIGUSR1, "QUIT": syscall.SIGQUIT}
		syscall.Kill(os.Getpid(), signals[arguments[1]])
		time.Sleep(time.Minute)
	case "run":
		// Ends by RLIMIT_CPU: SIGXCPU is ignored, SIGKILL comes a second later.
		signal.Ignore(syscall.SIGXCPU)
		syscall.Setrlimit(0, &syscall.Rlimit{Cur: 1, Max: 2})
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		}
	case "input":
		lines := bufio.NewScanner(os.Stdin)
		fmt.Println("ready")
		for lines.Scan() {
			fmt.Printf("line %q\n", lines.Text())
			if lines.Text() == "end" {
				os.Exit(0)
			}
		}
		os.Exit(5)
	}
}

// The size of the terminal on standard input: rows and columns.
func size() [2]uint16 {
	var size [4]uint16
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		fmt.Println("no size:", errno)
		os.Exit(6)
	}
	return [2]uint16{size[0], size[1]}
}

func window() {
	changed := make(chan os.Signal, 10)
	signal.Notify(changed, syscall.SIGWINCH)
	now := size()
	fmt.Println("size", now)
	fmt.Println("ready")
	for now[0] != 41 {
		select {
		case <-changed:
			now = size()
			fmt.Println("size", now)
		case <-time.After(time.Minute):
			os.Exit(7)
		}
	}
	// A change by the program itself is told too; the same size again is not.
	for _, rows := range []uint16{42, 42, 43} {
		wanted := [4]uint16{rows, now[1]}
		syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCSWINSZ, uintptr(unsafe.Pointer(&wanted)))
		select {
		case <-changed:
			fmt.Println("set", size())
		case <-time.After(time.Second):
			fmt.Println("not told", size())
		}
	}
	os.Exit(0)
}

// raw reads from the terminal on standard input without lines: what is told of the time to wait.
func raw() {
	const canonical, echo, time10th, minimum = 2, 8, 5, 6
	var settings syscall.Termios
	control := func(command uintptr) {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, command, uintptr(unsafe.Pointer(&settings)))
		if errno != 0 {
			fmt.Println("termios:", errno)
			os.Exit(6)
		}
	}
	control(syscall.TCGETS)
	settings.Lflag &^= canonical | echo
	read := func(least, tenths uint8) (string, time.Duration) {
		settings.Cc[minimum], settings.Cc[time10th] = least, tenths
		control(syscall.TCSETS)
		buffer, start := make([]byte, 10), time.Now()
		if least > 0 {
			fmt.Println("ready")
		}
		n, err := syscall.Read(0, buffer)
		if err != nil {
			fmt.Println("read:", err)
			os.Exit(6)
		}
		return string(buffer[:n]), time.Since(start)
	}
	text, took := read(0, 2)
	if text != "" || took < 150*time.Millisecond {
		fmt.Printf("%q after %v\n", text, took)
		os.Exit(7)
	}
	if text, took = read(0, 0); text != "" {
		fmt.Printf("%q after %v\n", text, took)
		os.Exit(8)
	}
	for text = ""; text != "xy"; {
		more, _ := read(10, 2)
		text += more
	}
	os.Exit(0)
}

func notify() {
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT, syscall.SIGTERM,
		syscall.SIGHUP, syscall.SIGCHLD, syscall.SIGWINCH, syscall.SIGPIPE} {
		received := make(chan os.Signal, 1)
		signal.Notify(received, s)
		check.NoError("kill itself "+s.String(), syscall.Kill(os.Getpid(), s))
		select {
		case got := <-received:
			check.That("notify "+s.String(), got == s, got)
		case <-time.After(20 * time.Second):
			check.That("notify "+s.String(), false, "not received")
		}
		signal.Stop(received)
	}
}

func ignore() {
	signal.Ignore(syscall.SIGUSR1)
	check.That("ignore: is ignored", signal.Ignored(syscall.SIGUSR1))
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	time.Sleep(10 * time.Millisecond)
	check.That("ignore: still alive", true)
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGUSR1)
	select {
	case got := <-received:
		check.That("ignore: nothing was kept", false, got)
	default:
		check.That("ignore: nothing was kept", true)
	}
	signal.Reset(syscall.SIGUSR1)
}

// threads: a signal to one thread by tgkill.
func threads() {
	received := make(chan os.Signal, 10)
	signal.Notify(received, syscall.SIGUSR2)
	defer signal.Stop(received)
	for i := 0; i < 5; i++ {
		// One after the other: Go folds equal signals that it has not handed on yet.
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			syscall.Syscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(syscall.Gettid()), uintptr(syscall.SIGUSR2))
			<-done
		}()
		select {
		case <-received:
		case <-time.After(20 * time.Second):
			check.That("threads", false, "only ", i, " received")
			return
		}
		close(done)
	}
	check.That("threads: 5 signals to 5 threads", true)
	_, _, code := syscall.Syscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), 1<<22-1, 0)
	check.Equal("threads: no such thread", code, syscall.ESRCH)
}

// storm: signals all the time while goroutines compute, allocate and call.
func storm() {
	received := make(chan os.Signal, 100)
	signal.Notify(received, syscall.SIGUSR1)
	defer signal.Stop(received)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for i := 0; i < 2; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				select {
				case <-stop:
					return
				case <-received:
				}
			}
		}()
	}
	wrong := 0
	for n := 0; n < 2000; n++ {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		data := make([]byte, 1000+n)
		for i := range data {
			data[i] = byte(i ^ n)
		}
		for i := range data {
			if data[i] != byte(i^n) {
				wrong++
			}
		}
	}
	close(stop)
	group.Wait()
	check.Equal("storm: wrong bytes", wrong, 0)
}

// interrupted: signals that arrive in a blocking call; SA_RESTART makes them invisible.
func interrupted() {
	var ends [2]int
	check.Must("interrupted: pipe", syscall.Pipe(ends[:]))
	received := make(chan os.Signal, 100)
	signal.Notify(received, syscall.SIGUSR2)
	defer signal.Stop(received)
	thread := make(chan int, 1)
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		thread <- syscall.Gettid()
		one := make([]byte, 1)
		_, err := syscall.Read(ends[0], one)
		result <- err
	}()
	id := <-thread
	for i := 0; i < 10; i++ {
		time.Sleep(5 * time.Millisecond)
		syscall.Syscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(id), uintptr(syscall.SIGUSR2))
	}
	syscall.Write(ends[1], []byte("x"))
	check.NoError("interrupted: the read went on", <-result)
	check.That("interrupted: signals came", len(received) > 0)
	syscall.Close(ends[0])
	syscall.Close(ends[1])
}

func exists() {
	check.NoError("signal 0 to itself", syscall.Kill(os.Getpid(), 0))
	check.Equal("signal 0 to nobody", syscall.Kill(1<<22-1, 0), syscall.ESRCH)
	check.Equal("signal 65", syscall.Kill(os.Getpid(), 65), syscall.EINVAL)
}
