package main

import "syscall"

// hasEnded says whether the peer of a socket has closed it, without taking anything from it.
func hasEnded(socket uintptr) bool {
	var one [1]byte
	read, _, err := syscall.Recvfrom(int(socket), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if err == syscall.EAGAIN {
		return false
	}
	return read == 0 || err != nil
}
