// How exact sleeping is: prints the distribution and fails only when a sleep ends early or when the
// middle one is later than the limit (-limit, generous for an emulated machine).
package main

import (
	"flag"
	"fmt"
	"sort"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	limit := flag.Duration("limit", 20*time.Millisecond, "largest median lateness")
	flag.Parse()
	for _, want := range []time.Duration{50 * time.Microsecond, time.Millisecond, 10 * time.Millisecond} {
		const rounds = 100
		lateness := make([]time.Duration, rounds)
		for i := range lateness {
			start := time.Now()
			time.Sleep(want)
			lateness[i] = time.Since(start) - want
		}
		sort.Slice(lateness, func(i, j int) bool { return lateness[i] < lateness[j] })
		fmt.Printf("sleep %v: late by %v (least), %v (median), %v (9 of 10), %v (most)\n", want,
			lateness[0], lateness[rounds/2], lateness[rounds*9/10], lateness[rounds-1])
		check.That(fmt.Sprintf("sleep %v: none early", want), lateness[0] >= 0, lateness[0])
		check.That(fmt.Sprintf("sleep %v: median", want), lateness[rounds/2] <= *limit, lateness[rounds/2])
	}
	check.Done()
}
