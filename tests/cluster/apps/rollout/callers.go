package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// httpCaller calls over HTTP/1.1 or HTTP/2 without TLS.
type httpCaller struct {
	client *http.Client
	method string
	url    string
}

func newHTTP(host, method string, version int) caller {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(version == 1)
	protocols.SetUnencryptedHTTP2(version == 2)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	return &httpCaller{client, method, "http://" + host + ":8080/"}
}

func (c *httpCaller) call(ctx context.Context, call string) error {
	var body io.Reader
	if c.method == "POST" {
		body = strings.NewReader("payload of " + call)
	}
	request, err := http.NewRequestWithContext(ctx, c.method, c.url, body)
	if err != nil {
		return err
	}
	request.Header.Set(identity, call)
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("reading the response: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.160s", response.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// grpcCaller makes unary calls.
type grpcCaller struct{ client healthpb.HealthClient }

func newGRPC(host string) caller {
	connection, err := grpc.NewClient(host+":9090", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	return &grpcCaller{healthpb.NewHealthClient(connection)}
}

func (c *grpcCaller) call(ctx context.Context, call string) error {
	ctx = metadata.AppendToOutgoingContext(ctx, identity, call)
	_, err := c.client.Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// tcpCaller sends a line and expects it back. It connects again where the server has closed between two calls.
type tcpCaller struct {
	address    string
	connection net.Conn
	lines      *bufio.Reader
	made       int
}

// callsPerConnection makes it connect now and then, as real clients do.
const callsPerConnection = 10

func newTCP(host string) caller { return &tcpCaller{address: host + ":7070"} }

func (c *tcpCaller) call(ctx context.Context, call string) error {
	if c.made >= callsPerConnection || c.closedMeanwhile() {
		c.close()
	}
	if c.connection == nil {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return err
		}
		c.connection, c.lines, c.made = connection, bufio.NewReader(connection), 0
	}
	c.made++
	deadline, _ := ctx.Deadline()
	_ = c.connection.SetDeadline(deadline)
	if _, err := fmt.Fprintln(c.connection, call); err != nil {
		c.close()
		return err
	}
	line, err := c.lines.ReadString('\n')
	if err != nil {
		c.close()
		return fmt.Errorf("no answer to call %d of the connection: %w", c.made, err)
	}
	if strings.TrimSpace(line) != call {
		return fmt.Errorf("got %q", line)
	}
	return nil
}

func (c *tcpCaller) close() {
	if c.connection != nil {
		_ = c.connection.Close()
	}
	c.connection = nil
}

// closedMeanwhile says whether the server has ended the connection since the last call.
func (c *tcpCaller) closedMeanwhile() bool {
	if c.connection == nil {
		return false
	}
	raw, err := c.connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	_ = raw.Read(func(socket uintptr) bool {
		ended = hasEnded(socket)
		return true
	})
	return ended
}
