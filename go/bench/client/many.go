package main

import (
	"fmt"
	"sync"
	"time"
)

// many holds count connections open at once and wants two answers on each: the first as soon as
// it is open, the second when all are. Reports whether none failed.
func many(t target, count int) bool {
	var (
		opened, finished sync.WaitGroup
		lock             sync.Mutex
		open, first      int
		second           int
		problems         = map[string]int{}
	)
	note := func(counter *int, err error) bool {
		lock.Lock()
		defer lock.Unlock()
		if err != nil {
			problems[err.Error()]++
			return false
		}
		*counter++
		return true
	}
	start := time.Now()
	var allOpen time.Duration
	opened.Add(count)
	finished.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			defer finished.Done()
			l, err := t.dial()
			if !note(&open, err) {
				opened.Done()
				return
			}
			defer l.Close()
			err = l.ask("/hello")
			if err == nil {
				err = l.answer(hello)
			}
			good := note(&first, err)
			opened.Done()
			opened.Wait()
			if !good {
				return
			}
			if err = l.ask("/hello"); err == nil {
				err = l.answer(hello)
			}
			note(&second, err)
		}()
	}
	opened.Wait()
	allOpen = time.Since(start)
	finished.Wait()
	fmt.Printf("opened %d\nfirst_answers %d\nsecond_answers %d\n", open, first, second)
	fmt.Printf("all_open_ms %d\nall_answered_ms %d\n",
		allOpen.Milliseconds(), time.Since(start).Milliseconds())
	for problem, times := range problems {
		fmt.Printf("# %d times: %s\n", times, problem)
	}
	return second == count
}
