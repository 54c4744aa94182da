// Pause is what a pod's sandbox runs: it holds the namespaces, takes orphans in and ends when told to.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for signal := range signals {
		if signal != syscall.SIGCHLD {
			return
		}
		for {
			orphan, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if orphan <= 0 || err != nil {
				break
			}
		}
	}
}
