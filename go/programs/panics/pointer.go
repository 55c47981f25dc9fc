package main

import "unsafe"

// pointerTo makes a pointer out of an address that belongs to nothing.
//
//go:nocheckptr
func pointerTo(address uintptr) *int {
	return *(**int)(unsafe.Pointer(&address))
}
