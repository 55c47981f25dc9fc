package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

// getppid is the cheapest way into the kernel and back.
func getppid() float64 {
	return each(func(n int) {
		for i := 0; i < n; i++ {
			syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
		}
	})
}

func timeNow() float64 {
	return each(func(n int) {
		for i := 0; i < n; i++ {
			sink += uint64(time.Now().Nanosecond())
		}
	})
}

func readZero() float64 {
	fd, err := syscall.Open("/dev/zero", syscall.O_RDONLY, 0)
	check(err)
	defer syscall.Close(fd)
	var b [1]byte
	return each(func(n int) {
		for i := 0; i < n; i++ {
			got, _, _ := syscall.Syscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 1)
			if got != 1 {
				panic("short read")
			}
		}
	})
}

func random() float64 {
	b := make([]byte, 32)
	return each(func(n int) {
		for i := 0; i < n; i++ {
			_, err := rand.Read(b)
			check(err)
		}
	})
}

func stat() float64 {
	return each(func(n int) {
		for i := 0; i < n; i++ {
			_, err := os.Stat("/tmp")
			check(err)
		}
	})
}

// fileCycle creates, writes, closes and removes a file of one page.
func fileCycle() float64 {
	path := fmt.Sprintf("/tmp/micro-%d.dat", os.Getpid())
	page := make([]byte, 4096)
	return each(func(n int) {
		for i := 0; i < n; i++ {
			f, err := os.Create(path)
			check(err)
			_, err = f.Write(page)
			check(err)
			check(f.Close())
			check(os.Remove(path))
		}
	})
}

// signalRoundTrip is from kill to the goroutine that waits for the signal.
func signalRoundTrip() float64 {
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGUSR1)
	defer signal.Stop(arrived)
	pid := os.Getpid()
	return each(func(n int) {
		for i := 0; i < n; i++ {
			check(syscall.Kill(pid, syscall.SIGUSR1))
			<-arrived
		}
	})
}
