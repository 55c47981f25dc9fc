package main

import (
	"syscall"
	"time"
)

// pipePingPong sends a byte to and fro over two pipes between two threads that block in read. With
// one CPU the runtime now and then takes it away from a thread in a call and gives it back
// milliseconds later, on every kernel and by chance.
func pipePingPong() float64 {
	var there, back [2]int
	check(syscall.Pipe(there[:]))
	check(syscall.Pipe(back[:]))
	onThread(func() {
		b := make([]byte, 1)
		for {
			if n, err := syscall.Read(there[0], b); n != 1 || err != nil {
				return
			}
			syscall.Write(back[1], b)
		}
	})
	answer := make(chan float64)
	onThread(func() {
		b := make([]byte, 1)
		answer <- eachAtBest(func(n int) {
			for i := 0; i < n; i++ {
				syscall.Write(there[1], b)
				syscall.Read(back[0], b)
			}
		})
	})
	value := <-answer
	syscall.Close(there[1])
	syscall.Close(back[0])
	return value
}

// echo answers each value of one channel on another, until the first is closed.
func echo(there <-chan int, back chan<- int) {
	for v := range there {
		back <- v
	}
}

func roundTrips(there chan<- int, back <-chan int) float64 {
	return each(func(n int) {
		for i := 0; i < n; i++ {
			there <- i
			<-back
		}
	})
}

// futexPingPong is a channel between goroutines that are locked to threads: each hand-over is a
// futex wake-up and a wait.
func futexPingPong() float64 {
	there, back := make(chan int), make(chan int)
	onThread(func() { echo(there, back) })
	answer := make(chan float64)
	onThread(func() { answer <- roundTrips(there, back) })
	value := <-answer
	close(there)
	return value
}

// channelPingPong stays within the Go runtime.
func channelPingPong() float64 {
	there, back := make(chan int), make(chan int)
	go echo(there, back)
	value := roundTrips(there, back)
	close(there)
	return value
}

// threadCreateExit: a locked goroutine that returns takes its thread with it.
func threadCreateExit() float64 {
	done := make(chan struct{})
	return each(func(n int) {
		for i := 0; i < n; i++ {
			onThread(func() { done <- struct{}{} })
			<-done
		}
	})
}

func sleepOvershoot() []result {
	const nap = 100 * time.Microsecond
	var late []float64
	sum := 0.0
	for start := time.Now(); len(late) < 500 && time.Since(start) < time.Second; {
		before := time.Now()
		time.Sleep(nap)
		over := float64(time.Since(before)-nap) / 1e3
		late = append(late, over)
		sum += over
	}
	middle := median(late) // sorts
	return []result{
		{"sleep_100us_overshoot_median", middle, "us"},
		{"sleep_100us_overshoot_mean", sum / float64(len(late)), "us"},
		{"sleep_100us_overshoot_p99", late[len(late)*99/100], "us"},
	}
}
