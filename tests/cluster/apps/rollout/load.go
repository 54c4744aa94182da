package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// patience is how long one call may take.
const patience = 5 * time.Second

// caller makes calls one after the other, over connections of its own that it keeps.
type caller interface {
	// call returns why it failed, or nil.
	call(ctx context.Context, identity string) error
}

// kind is a way to call the application.
type kind struct {
	name string
	make func(host string) caller
}

var kinds = []kind{
	{"http1-get", func(host string) caller { return newHTTP(host, "GET", 1) }},
	{"http1-post", func(host string) caller { return newHTTP(host, "POST", 1) }},
	{"http2-get", func(host string) caller { return newHTTP(host, "GET", 2) }},
	{"http2-post", func(host string) caller { return newHTTP(host, "POST", 2) }},
	{"grpc", newGRPC},
	{"tcp", newTCP},
}

// failure is a call that failed.
type failure struct {
	Call   string `json:"call"`
	At     string `json:"at"`
	Reason string `json:"reason"`
}

// result is what became of the calls of one kind.
type result struct {
	Kind     string    `json:"kind"`
	Calls    int       `json:"calls"`
	Failures []failure `json:"failures"`
	mutex    sync.Mutex
}

func (r *result) note(identity string, err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.Calls++
	if err != nil {
		at := time.Now().UTC().Format(time.RFC3339Nano)
		r.Failures = append(r.Failures, failure{identity, at, err.Error()})
	}
}

func load(arguments []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	duration := flags.Duration("for", time.Hour, "how long, unless SIGTERM comes before")
	workers := flags.Int("workers", 4, "connections for each kind of call")
	every := flags.Duration("every", 50*time.Millisecond, "time between two calls of a connection")
	only := flags.String("kind", "", "the only kind of call to make")
	_ = flags.Parse(arguments)
	host := flags.Arg(0)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()

	var all sync.WaitGroup
	var results []*result
	for _, kind := range kinds {
		if *only != "" && *only != kind.name {
			continue
		}
		result := &result{Kind: kind.name, Failures: []failure{}}
		results = append(results, result)
		for worker := range *workers {
			all.Go(func() { work(ctx, kind, host, worker, *every, result) })
		}
	}
	all.Wait()
	for _, result := range results {
		_ = json.NewEncoder(os.Stdout).Encode(result)
	}
}

// work calls until the context ends. The last call is let finish, so that the end of the load is not a
// failure.
func work(ctx context.Context, kind kind, host string, worker int, every time.Duration, result *result) {
	caller := kind.make(host)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for number := 0; ; number++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		identity := fmt.Sprintf("%s-%d-%d-%d", kind.name, os.Getpid(), worker, number)
		call, cancel := context.WithTimeout(context.Background(), patience)
		result.note(identity, caller.call(call, identity))
		cancel()
	}
}
