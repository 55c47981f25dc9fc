package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"
)

// kind is one way to treat a server; work does one piece of it and says what went wrong.
type kind struct {
	name    string
	workers int
	work    func(target, *rand.Rand) error
}

var kinds = []kind{
	{"keep_alive", 4, keepAlive},
	{"new_connection", 4, newConnection},
	{"pipelined", 1, pipelined},
	{"big_body", 2, bigBody},
	{"upload", 1, upload},
	{"half_close", 2, halfClose},
	{"slow_request", 4, slowRequest},
	{"slow_reader", 2, slowReader},
	{"slow_answer", 4, slowAnswer},
	{"open_and_close", 2, openAndClose},
	{"reset_unused", 2, resetUnused},
	{"reset_in_request", 2, resetInRequest},
	{"reset_in_answer", 2, resetInAnswer},
	{"refused_port", 1, refusedPort},
}

// soak runs all kinds at once for the span and reports whether nothing was lost.
func soak(t target, span, pause time.Duration) bool {
	done := make([]int64, len(kinds))
	lost := make([]int64, len(kinds))
	end := time.Now().Add(span)
	var workers sync.WaitGroup
	for k := range kinds {
		for w := 0; w < kinds[k].workers; w++ {
			workers.Add(1)
			go func(k int, seed int64) {
				defer workers.Done()
				random := rand.New(rand.NewSource(seed))
				for time.Now().Before(end) {
					if err := kinds[k].work(t, random); err != nil {
						atomic.AddInt64(&lost[k], 1)
						fmt.Printf("# %s lost: %v\n", kinds[k].name, err)
						time.Sleep(time.Second) // a dead server must not make a hot loop
					}
					atomic.AddInt64(&done[k], 1)
					time.Sleep(pause)
				}
			}(k, int64(k*100+w))
		}
	}
	workers.Wait()
	var all int64
	for k := range kinds {
		fmt.Printf("%s %d\n", kinds[k].name, done[k])
		all += lost[k]
	}
	fmt.Printf("lost %d\n", all)
	return all == 0
}

// with opens a connection, uses it and closes it.
func (t target) with(use func(*link) error) error {
	l, err := t.dial()
	if err != nil {
		return err
	}
	defer l.Close()
	return use(l)
}

// exchange is one request for /hello and its answer.
func (l *link) exchange() error {
	if err := l.ask("/hello"); err != nil {
		return err
	}
	return l.answer(hello)
}

func keepAlive(t target, random *rand.Rand) error {
	return t.with(func(l *link) error {
		for i := random.Intn(100) + 1; i > 0; i-- {
			if err := l.exchange(); err != nil {
				return err
			}
		}
		return nil
	})
}

func newConnection(t target, _ *rand.Rand) error {
	return t.with((*link).exchange)
}

// pipelined sends several requests before it reads the first answer.
func pipelined(t target, random *rand.Rand) error {
	return t.with(func(l *link) error {
		count := random.Intn(20) + 2
		for i := 0; i < count; i++ {
			if err := l.ask("/hello"); err != nil {
				return err
			}
		}
		for i := 0; i < count; i++ {
			if err := l.answer(hello); err != nil {
				return err
			}
		}
		return nil
	})
}

func bigBody(t target, random *rand.Rand) error {
	err := t.with(func(l *link) error {
		if err := l.ask("/big"); err != nil {
			return err
		}
		return l.answer(big)
	})
	nap(random, 100*time.Millisecond)
	return err
}

func upload(t target, random *rand.Rand) error {
	err := t.with(func(l *link) error {
		from := random.Intn(len(big) / 2)
		body := big[from : from+1+random.Intn(len(big)/2)]
		if err := l.send(request("POST", "/echo", string(body))); err != nil {
			return err
		}
		return l.answer(body)
	})
	nap(random, 100*time.Millisecond)
	return err
}

// halfClose ends its side after the request and still gets the answer, then the end.
func halfClose(t target, _ *rand.Rand) error {
	return t.with(func(l *link) error {
		text := "GET /hello HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n"
		if err := l.send(text); err != nil {
			return err
		}
		if err := l.CloseWrite(); err != nil {
			return err
		}
		if err := l.answer(hello); err != nil {
			return err
		}
		if _, err := l.reader.ReadByte(); err != io.EOF {
			return fmt.Errorf("after the answer: %v instead of the end", err)
		}
		return nil
	})
}

// slowRequest stalls in the middle of its request.
func slowRequest(t target, random *rand.Rand) error {
	return t.with(func(l *link) error {
		text := request("GET", "/hello", "")
		cut := random.Intn(len(text)-1) + 1
		if err := l.send(text[:cut]); err != nil {
			return err
		}
		nap(random, 3*time.Second)
		if err := l.send(text[cut:]); err != nil {
			return err
		}
		return l.answer(hello)
	})
}

// slowReader lets the server's window close, then takes everything.
func slowReader(t target, random *rand.Rand) error {
	return t.with(func(l *link) error {
		if err := l.SetReadBuffer(4096); err != nil {
			return err
		}
		if err := l.ask("/big"); err != nil {
			return err
		}
		nap(random, 3*time.Second)
		if err := l.SetDeadline(time.Now().Add(3 * t.patience)); err != nil {
			return err
		}
		return l.answer(big)
	})
}

// slowAnswer waits for a server that stalls in the middle of its answer.
func slowAnswer(t target, random *rand.Rand) error {
	return t.with(func(l *link) error {
		if err := l.ask(fmt.Sprintf("/slow?ms=%d", random.Intn(3000))); err != nil {
			return err
		}
		return l.answer(hello)
	})
}

func openAndClose(t target, _ *rand.Rand) error {
	return t.with(func(*link) error { return nil })
}

func resetUnused(t target, random *rand.Rand) error {
	l, err := t.dial()
	if err != nil {
		return err
	}
	nap(random, 20*time.Millisecond)
	return l.reset()
}

func resetInRequest(t target, random *rand.Rand) error {
	l, err := t.dial()
	if err != nil {
		return err
	}
	text := request("GET", "/hello", "")
	if err := l.send(text[:random.Intn(len(text))]); err != nil {
		return err
	}
	nap(random, 20*time.Millisecond)
	return l.reset()
}

// resetInAnswer reads a part of a large answer.
func resetInAnswer(t target, random *rand.Rand) error {
	l, err := t.dial()
	if err != nil {
		return err
	}
	if err := l.ask("/big"); err != nil {
		return err
	}
	part := make([]byte, random.Intn(len(big)/2)+1)
	if _, err := io.ReadFull(l, part); err != nil {
		return err
	}
	return l.reset()
}

// refusedPort wants a refusal where nobody listens: an answer too.
func refusedPort(t target, random *rand.Rand) error {
	nap(random, 100*time.Millisecond)
	other := target{replacePort(t.address, 8081), t.patience}
	err := other.with(func(*link) error { return errors.New("somebody listens on port 8081") })
	if isRefused(err) {
		return nil
	}
	return fmt.Errorf("instead of a refusal: %v", err)
}

func nap(random *rand.Rand, longest time.Duration) {
	time.Sleep(time.Duration(random.Int63n(int64(longest))))
}
