// Random bytes: from many goroutines and threads, of all lengths, none twice. Go 1.24 and later make
// them in the program, from states that the vDSO keeps a thread.
package main

import (
	"crypto/rand"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	readers = 16
	reads   = 250
)

func main() {
	check.Within("random", 2*time.Minute, random)
	check.Done()
}

func random() {
	var lock sync.Mutex
	seen := make(map[[16]byte]bool)
	wrong, twice, ones, bits := 0, 0, 0, 0
	var ready sync.WaitGroup
	for reader := 0; reader < readers; reader++ {
		ready.Add(1)
		go func(reader int) {
			defer ready.Done()
			if reader%2 == 0 {
				// A thread of its own, which ends with it.
				runtime.LockOSThread()
			}
			for read := 0; read < reads; read++ {
				length := 16 + read*reader%400
				bytes := make([]byte, length+8)
				_, err := io.ReadFull(rand.Reader, bytes[:length])
				beyond := string(bytes[length:]) == string(make([]byte, 8))
				lock.Lock()
				if err != nil || !beyond {
					wrong++
				}
				for at := 0; at+16 <= length; at += 16 {
					var piece [16]byte
					copy(piece[:], bytes[at:])
					if seen[piece] {
						twice++
					}
					seen[piece] = true
				}
				for _, value := range bytes[:length] {
					for ; value != 0; value &= value - 1 {
						ones++
					}
				}
				bits += 8 * length
				lock.Unlock()
			}
		}(reader)
	}
	ready.Wait()
	check.Equal("reads that failed", wrong, 0)
	check.Equal("pieces that came twice", twice, 0)
	// Of millions of bits, one in a hundred off is many times the deviation.
	check.That("as many ones as zeros", ones > bits/100*49 && ones < bits/100*51, ones, bits)
}
