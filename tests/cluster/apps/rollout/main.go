// Rollout is an application that is rolled out under load, and the load.
//
//	rollout serve [-seen FILE]     HTTP/1.1 and HTTP/2 on 8080, gRPC on 9090, TCP on 7070; ends at once on SIGTERM
//	rollout load [-for 1m] HOST    calls it over all of these and prints a line of JSON for each kind of call
//	rollout stop                   ends the container's first process, such as a load, as a kubelet would
//	rollout true, rollout sleep    what their names say
//
// Every call has an identity. The server writes those that reached it to FILE, so that a call that
// failed can be told to have reached the application or not.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			serve(os.Args[2:])
			return
		case "load":
			load(os.Args[2:])
			return
		case "stop":
			if err := syscall.Kill(1, syscall.SIGTERM); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		case "true":
			return
		case "sleep":
			awaitEnd()
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: rollout serve|load|stop|true|sleep")
	os.Exit(64)
}
