package main

import (
	"syscall"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	sysMembarrier = 324
)

// memoryLimits: RLIMIT_AS and RLIMIT_DATA.
func memoryLimits() {
	const size = 256 << 20
	private := syscall.MAP_PRIVATE | syscall.MAP_ANON
	maps := func(protection int) error {
		memory, err := syscall.Mmap(-1, 0, size, protection, private)
		if err == nil {
			err = syscall.Munmap(memory)
		}
		return err
	}
	limited := func(resource int, body func()) {
		var before syscall.Rlimit
		check.NoError("memory limit: before", syscall.Getrlimit(resource, &before))
		limit := before
		limit.Cur = 128 << 20
		check.NoError("memory limit: set", syscall.Setrlimit(resource, &limit))
		body()
		check.NoError("memory limit: set back", syscall.Setrlimit(resource, &before))
		check.NoError("memory limit: gone", maps(syscall.PROT_READ|syscall.PROT_WRITE))
	}
	limited(syscall.RLIMIT_AS, func() {
		check.Equal("address space", maps(syscall.PROT_NONE), error(syscall.ENOMEM))
	})
	limited(syscall.RLIMIT_DATA, func() {
		check.Equal("data", maps(syscall.PROT_READ|syscall.PROT_WRITE), error(syscall.ENOMEM))
		check.NoError("data: what is only reserved", maps(syscall.PROT_NONE))
		check.NoError("data: what is only read", maps(syscall.PROT_READ))
	})
}

// barriers: membarrier wants to know who will ask.
func barriers() {
	known, err := call(sysMembarrier, 0, 0)
	check.That("barriers", err == nil && known&0x7f == 0x7f, known, err)
	for _, command := range []uintptr{8, 0x20} {
		fails("barrier: not registered", syscall.EPERM, sysMembarrier, command, 0)
		_, err = call(sysMembarrier, command<<1, 0)
		check.NoError("barrier: register", err)
		_, err = call(sysMembarrier, command, 0)
		check.NoError("barrier", err)
	}
	for _, command := range []uintptr{1, 2, 4} {
		_, err = call(sysMembarrier, command, 0)
		check.NoError("barrier: global", err)
	}
	fails("barrier: two at once", syscall.EINVAL, sysMembarrier, 3, 0)
	fails("barrier: flags", syscall.EINVAL, sysMembarrier, 1, 1)
}

// growing: Linux lets a mapping grow downwards where it can; where it cannot it must not be made.
func growing() {
	both := syscall.PROT_READ | syscall.PROT_WRITE
	_, err := syscall.Mmap(-1, 0, 4096, both, syscall.MAP_SHARED|syscall.MAP_ANON|syscall.MAP_GROWSDOWN)
	check.Equal("growing: shared", err, error(syscall.EINVAL))
	_, err = syscall.Mmap(-1, 0, 4096, both, syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_GROWSDOWN)
	check.That("growing: made or refused", err == nil || err == error(syscall.EOPNOTSUPP), err)
}
