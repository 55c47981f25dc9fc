package main

import (
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

// memory answers in the form of /proc/self/status, which follows together with /proc/meminfo and
// /proc/net/sockstat.
func memory(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("gc") != "" {
		debug.FreeOSMemory()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("Goroutines: " + strconv.Itoa(runtime.NumGoroutine()) + "\n" +
		"HeapInUse: " + strconv.FormatUint(stats.HeapInuse>>10, 10) + " kB\n"))
	for _, path := range []string{"/proc/meminfo", "/proc/self/status", "/proc/net/sockstat"} {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error() + "\n")
		}
		w.Write(text)
	}
}
