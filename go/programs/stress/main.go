// Everything at once: goroutines that come and go, collections, signals, timers, mappings, files,
// sockets and threads, for a while; then what the kernel counts for the process is as before.
//
//	-for D     how long (20 s)
//	-seed N    seed of the choices; printed
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// Workers of each kind.
const each = 3

var counts [9]int64

var kinds = []struct {
	name string
	step func(*rand.Rand) error
}{
	{"goroutines", goroutines},
	{"garbage", garbage},
	{"signals", signals},
	{"timers", timers},
	{"mappings", mappings},
	{"files", files},
	{"sockets", sockets},
	{"pipes", pipes},
	{"threads", threads},
}

func main() {
	length := flag.Duration("for", 20*time.Second, "how long")
	seed := flag.Int64("seed", time.Now().UnixNano(), "seed of the choices")
	flag.Parse()
	fmt.Println("seed", *seed)
	received := make(chan os.Signal, 16)
	signal.Notify(received, syscall.SIGUSR1)
	go func() {
		for range received {
		}
	}()
	// Once, so that what the runtime keeps is there when it is counted first.
	check.Within("first", 5*time.Minute, func() { run(2*time.Second, *seed) })
	descriptors, resident := settled()
	check.Within("work", *length+10*time.Minute, func() { run(*length, *seed+1) })
	after, residentAfter := settled()
	check.Equal("descriptors", after, descriptors)
	// Go keeps threads and some of its heap; a leak of either grows with the work.
	check.That("memory", residentAfter < resident+32<<20, resident, " then ", residentAfter)
	for at, kind := range kinds {
		fmt.Println(kind.name, counts[at])
		check.That(kind.name+" got on", atomic.LoadInt64(&counts[at]) > 0)
	}
	check.Done()
}

// settled: open descriptors and resident bytes when all is quiet.
func settled() (descriptors int, resident int) {
	for i := 0; i < 3; i++ {
		debug.FreeOSMemory()
		time.Sleep(100 * time.Millisecond)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	check.NoError("read /proc/self/fd", err)
	statm, err := os.ReadFile("/proc/self/statm")
	check.NoError("read statm", err)
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	check.NoError("resident pages", err)
	return len(entries), pages * 4096
}

func run(length time.Duration, seed int64) {
	stop := time.Now().Add(length)
	var group sync.WaitGroup
	for at := range kinds {
		for i := 0; i < each; i++ {
			at, random := at, rand.New(rand.NewSource(seed+int64(at*each+i)))
			group.Add(1)
			go func() {
				defer group.Done()
				for time.Now().Before(stop) {
					if err := kinds[at].step(random); err != nil {
						check.Must(kinds[at].name, err)
					}
					atomic.AddInt64(&counts[at], 1)
				}
			}()
		}
	}
	group.Wait()
}

func goroutines(random *rand.Rand) error {
	results := make(chan int)
	count := 1 + random.Intn(50)
	for i := 0; i < count; i++ {
		i := i
		go func() {
			if i%3 == 0 {
				runtime.Gosched()
			}
			results <- i
		}()
	}
	sum := 0
	for i := 0; i < count; i++ {
		sum += <-results
	}
	if sum != count*(count-1)/2 {
		return fmt.Errorf("sum %d of %d", sum, count)
	}
	return nil
}

func garbage(random *rand.Rand) error {
	blocks := make([][]byte, 32)
	for i := 0; i < 200; i++ {
		block := make([]byte, 1+random.Intn(64<<10))
		block[0], block[len(block)-1] = byte(i), byte(i)
		blocks[random.Intn(len(blocks))] = block
	}
	for _, block := range blocks {
		if block != nil && block[0] != block[len(block)-1] {
			return fmt.Errorf("a block changed")
		}
	}
	if random.Intn(20) == 0 {
		runtime.GC()
	}
	return nil
}

func signals(random *rand.Rand) error {
	time.Sleep(time.Duration(random.Intn(500)) * time.Microsecond)
	return syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
}

func timers(random *rand.Rand) error {
	fired := make(chan struct{}, 20)
	stopped := 0
	for i := 0; i < 20; i++ {
		timer := time.AfterFunc(time.Duration(random.Intn(2000))*time.Microsecond, func() { fired <- struct{}{} })
		if random.Intn(4) == 0 && timer.Stop() {
			stopped++
		}
	}
	// One, and stopped: before Go 1.23 a timer keeps its memory until it has fired.
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	for i := stopped; i < 20; i++ {
		select {
		case <-fired:
		case <-late.C:
			return fmt.Errorf("a timer is missing")
		}
	}
	return nil
}

func mappings(random *rand.Rand) error {
	size := (1 + random.Intn(64)) << 12
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return err
	}
	mark := byte(1 + random.Intn(255))
	for at := 0; at < size; at += 4096 {
		if memory[at] != 0 {
			return fmt.Errorf("fresh memory is not zero")
		}
		memory[at] = mark
	}
	if err := syscall.Mprotect(memory, syscall.PROT_READ); err != nil {
		return err
	}
	runtime.Gosched()
	for at := 0; at < size; at += 4096 {
		if memory[at] != mark {
			return fmt.Errorf("memory changed")
		}
	}
	if err := syscall.Madvise(memory, syscall.MADV_DONTNEED); err != nil {
		return err
	}
	if memory[0] != 0 {
		return fmt.Errorf("memory that was given up is not zero")
	}
	return syscall.Munmap(memory)
}

func files(random *rand.Rand) error {
	file, err := os.CreateTemp("", "stress")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	wrote := make([]byte, 1+random.Intn(20000))
	random.Read(wrote)
	if _, err := file.Write(wrote); err != nil {
		return err
	}
	renamed := file.Name() + ".renamed"
	if err := os.Rename(file.Name(), renamed); err != nil {
		return err
	}
	defer os.Remove(renamed)
	got, err := os.ReadFile(renamed)
	if err == nil && !bytes.Equal(got, wrote) {
		err = fmt.Errorf("a file of %d bytes came back with %d", len(wrote), len(got))
	}
	return err
}

func sockets(random *rand.Rand) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	size := 1 + random.Intn(50000)
	sent := make(chan error, 1)
	go func() {
		connection, err := listener.Accept()
		if err == nil {
			_, err = connection.Write(make([]byte, size))
			connection.Close()
		}
		sent <- err
	}()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	got, err := io.Copy(io.Discard, connection)
	if err == nil && got != int64(size) {
		err = fmt.Errorf("%d of %d bytes arrived", got, size)
	}
	if err != nil {
		return err
	}
	return <-sent
}

func pipes(random *rand.Rand) error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	size := 1 + random.Intn(200000)
	sent := make(chan error, 1)
	go func() {
		_, err := writer.Write(make([]byte, size))
		writer.Close()
		sent <- err
	}()
	got, err := io.Copy(io.Discard, reader)
	if err == nil && got != int64(size) {
		err = fmt.Errorf("%d of %d bytes arrived", got, size)
	}
	if err != nil {
		return err
	}
	return <-sent
}

// threads: a locked goroutine that ends takes its thread with it.
func threads(random *rand.Rand) error {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		time.Sleep(time.Duration(random.Intn(300)) * time.Microsecond)
		close(done)
	}()
	<-done
	return nil
}
