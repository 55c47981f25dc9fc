package web

import "runtime/debug"

func freeMemory() {
	// Twice: what has a finalizer goes only with the second collection.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
}
