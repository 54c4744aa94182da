package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// identity is the header, and the metadata, that tells calls apart.
const identity = "x-call"

// seen is where the identities of calls go that reached this server.
type seen struct{ file *os.File }

func (s seen) note(call string) {
	if s.file != nil && call != "" {
		// One write, so that lines of several pods in one file do not mix.
		_, _ = s.file.WriteString(call + "\n")
	}
}

func serve(arguments []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	path := flags.String("seen", "", "file to append the identities of calls to")
	grace := flags.Duration("grace", 0, "how long to go on after SIGTERM")
	_ = flags.Parse(arguments)

	var calls seen
	if *path != "" {
		file, err := os.OpenFile(*path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
		if err != nil {
			log.Fatal(err)
		}
		calls.file = file
	}
	go serveHTTP(calls)
	go serveGRPC(calls)
	go serveTCP(calls)

	awaitEnd()
	time.Sleep(*grace)
}

// awaitEnd waits until the process is told to end.
func awaitEnd() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
}

func serveHTTP(calls seen) {
	name, _ := os.Hostname()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	answer := func(response http.ResponseWriter, request *http.Request) {
		calls.note(request.Header.Get(identity))
		_, _ = io.Copy(io.Discard, request.Body)
		fmt.Fprintln(response, name)
	}
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(answer), Protocols: protocols}
	log.Fatal(server.ListenAndServe())
}

func serveGRPC(calls seen) {
	listener, err := net.Listen("tcp", ":9090")
	if err != nil {
		log.Fatal(err)
	}
	note := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if sent, ok := metadata.FromIncomingContext(ctx); ok {
			calls.note(strings.Join(sent.Get(identity), ""))
		}
		return next(ctx, request)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(note))
	healthpb.RegisterHealthServer(server, health.NewServer())
	log.Fatal(server.Serve(listener))
}

// serveTCP answers each line with itself.
func serveTCP(calls seen) {
	listener, err := net.Listen("tcp", ":7070")
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			lines := bufio.NewScanner(connection)
			for lines.Scan() {
				calls.note(lines.Text())
				if _, err := fmt.Fprintln(connection, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}
