// Micro benchmarks of what a Go program asks of its kernel. Standard library only, Go 1.16 and
// later.
//
// Prints "name value unit" lines; "name FAIL reason" when a row does not work, and goes on;
// "MICRO DONE <total ms>" last. Under QEMU's -icount shift=0 a nanosecond is an instruction.
//
// Arguments: the rows to run, by default all.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// result is one line of output.
type result struct {
	name  string
	value float64
	unit  string
}

// row is one benchmark; most give one result, named like the row.
type row struct {
	name    string
	measure func() []result
}

// nanoseconds makes a row of a function that returns nanoseconds an operation.
func nanoseconds(name string, measure func() float64) row {
	return row{name, func() []result { return []result{{name, measure(), "ns"}} }}
}

// patience is how long one row may take before the next begins.
const patience = 6 * time.Second

var rows = []row{
	nanoseconds("getppid_raw", getppid),
	nanoseconds("time_now", timeNow),
	nanoseconds("read_devzero_1", readZero),
	nanoseconds("pipe_pingpong_threads", pipePingPong),
	nanoseconds("futex_pingpong_threads", futexPingPong),
	nanoseconds("chan_pingpong", channelPingPong),
	nanoseconds("page_fault", pageFault),
	nanoseconds("mmap_munmap_1M", mapUnmap),
	nanoseconds("thread_create_exit", threadCreateExit),
	nanoseconds("crypto_rand_32", random),
	{"sleep_100us_overshoot", sleepOvershoot},
	nanoseconds("tcp_lo_pingpong", tcpPingPong),
	{"tcp_lo_bulk", tcpBulk},
	nanoseconds("unix_pingpong", unixPingPong),
	{"http_lo", httpLoopback},
	nanoseconds("udp_lo_pingpong", udpPingPong),
	nanoseconds("stat", stat),
	nanoseconds("file_4k_cycle", fileCycle),
	{"gc_trees_16", collectTrees},
	{"cpu_scaling", processorScaling},
	nanoseconds("signal_roundtrip", signalRoundTrip),
	{"preempt_gc", preemptForCollection},
	{"alloc_scaling", allocationScaling},
}

func main() {
	debug.SetPanicOnFault(true)
	started := time.Now()
	fmt.Printf("# %s GOMAXPROCS=%d NumCPU=%d\n",
		runtime.Version(), runtime.GOMAXPROCS(0), runtime.NumCPU())
	wanted := map[string]bool{}
	for _, name := range os.Args[1:] {
		wanted[name] = true
	}
	for _, r := range rows {
		if len(wanted) == 0 || wanted[r.name] {
			run(r)
		}
	}
	fmt.Printf("MICRO DONE %d ms\n", time.Since(started).Milliseconds())
}

// run prints the results of one row. A row that hangs is left behind.
func run(r row) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if reason := recover(); reason != nil {
				fmt.Printf("%s FAIL %v\n", r.name, reason)
			}
		}()
		for _, result := range r.measure() {
			fmt.Printf("%s %s %s\n", result.name, digits(result.value), result.unit)
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		fmt.Printf("%s FAIL no result after %v\n", r.name, patience)
	}
}
