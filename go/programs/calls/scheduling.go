package main

import (
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	sysSetAttributes = 314
	sysGetAttributes = 315
	batch            = 3
	idle             = 5
	resetOnFork      = 0x40000000
)

// struct sched_attr, with room for what a newer kernel might know.
type attributes struct {
	size, policy     uint32
	flags            uint64
	nice             int32
	priority         uint32
	runtime          uint64
	deadline, period uint64
	clamps           [2]uint32
	beyond           [2]uint64
}

// scheduling: the policies that share the time, and what is wrong. Whether a real-time policy is
// granted differs from one Linux to the next.
func scheduling() { apart(schedulingHere) }

func schedulingHere() {
	policy := func() uintptr {
		policy, err := call(syscall.SYS_SCHED_GETSCHEDULER, 0)
		check.NoError("policy", err)
		return policy
	}
	var priority int32
	set := func(policy uintptr) error {
		_, err := call(syscall.SYS_SCHED_SETSCHEDULER, 0, policy, at(unsafe.Pointer(&priority)))
		return err
	}
	check.Equal("policy at first", policy(), uintptr(0))
	for _, wanted := range []uintptr{batch, idle, resetOnFork, 0} {
		check.NoError("set policy", set(wanted))
		check.Equal("policy", policy(), wanted)
	}
	check.Equal("set policy: none has this number", set(77), error(syscall.EINVAL))
	check.Equal("set policy: negative", set(^uintptr(0)), error(syscall.EINVAL))
	check.Equal("set policy: round robin without priority", set(2), error(syscall.EINVAL))
	fails("set policy: no parameter", syscall.EINVAL, syscall.SYS_SCHED_SETSCHEDULER, 0, 0, 0)
	fails("set policy: of nobody", syscall.ESRCH, syscall.SYS_SCHED_SETSCHEDULER, 1<<30, 0, at(unsafe.Pointer(&priority)))
	fails("set policy: no memory", syscall.EFAULT, syscall.SYS_SCHED_SETSCHEDULER, 0, 0, 8)
	priority = 5
	check.Equal("set policy: priority without real time", set(0), error(syscall.EINVAL))
	fails("set parameter: the same", syscall.EINVAL, syscall.SYS_SCHED_SETPARAM, 0, at(unsafe.Pointer(&priority)))
	_, err := call(syscall.SYS_SCHED_GETPARAM, 0, at(unsafe.Pointer(&priority)))
	check.NoError("parameter", err)
	check.Equal("parameter", priority, int32(0))
	_, err = call(syscall.SYS_SCHED_SETPARAM, 0, at(unsafe.Pointer(&priority)))
	check.NoError("set parameter", err)
	fails("policy: of nobody", syscall.ESRCH, syscall.SYS_SCHED_GETSCHEDULER, 1<<30)
	fails("policy: negative", syscall.EINVAL, syscall.SYS_SCHED_GETSCHEDULER, ^uintptr(0))
	for policy, most := range map[uintptr]uintptr{0: 0, 1: 99, 2: 99, batch: 0, idle: 0, 6: 0} {
		got, err := call(syscall.SYS_SCHED_GET_PRIORITY_MAX, policy)
		check.That("highest priority", err == nil && got == most, policy, got, err)
		got, err = call(syscall.SYS_SCHED_GET_PRIORITY_MIN, policy)
		check.That("lowest priority", err == nil && got == most/99, policy, got, err)
	}
	fails("highest priority: no such policy", syscall.EINVAL, syscall.SYS_SCHED_GET_PRIORITY_MAX, 77)
	var slice syscall.Timespec
	_, err = call(syscall.SYS_SCHED_RR_GET_INTERVAL, 0, at(unsafe.Pointer(&slice)))
	check.That("interval", err == nil && slice.Sec == 0 && slice.Nsec >= 0, err, slice)
	attributesHere()
}

func attributesHere() {
	get := func(size uintptr) (attributes, error) {
		var got attributes
		_, err := call(sysGetAttributes, 0, at(unsafe.Pointer(&got)), size, 0)
		return got, err
	}
	set := func(wanted attributes) error {
		_, err := call(sysSetAttributes, 0, at(unsafe.Pointer(&wanted)), 0)
		return err
	}
	check.NoError("set attributes", set(attributes{size: 48, policy: batch, nice: 7, flags: 1}))
	got, err := get(48)
	check.NoError("attributes", err)
	check.That("attributes", got.size == 48 && got.policy == batch && got.nice == 7 && got.flags == 1, got)
	nice, err := call(syscall.SYS_GETPRIORITY, 0, 0)
	check.That("attributes and niceness", err == nil && nice == 20-7, nice, err)
	check.NoError("set attributes: size 0", set(attributes{}))
	_, err = get(47)
	check.Equal("attributes: too short", err, error(syscall.EINVAL))
	_, err = get(4097)
	check.Equal("attributes: too long", err, error(syscall.EINVAL))
	check.NoError("set attributes: of the future", set(attributes{size: 72}))
	check.Equal("set attributes: more than there is", set(attributes{size: 72, beyond: [2]uint64{0, 1}}), error(syscall.E2BIG))
	check.Equal("set attributes: too short", set(attributes{size: 8}), error(syscall.E2BIG))
	check.Equal("set attributes: policy", set(attributes{size: 48, policy: 1 << 31}), error(syscall.EINVAL))
	check.Equal("set attributes: flags", set(attributes{size: 48, flags: 1 << 40}), error(syscall.EINVAL))
	check.Equal("set attributes: priority", set(attributes{size: 48, priority: 1}), error(syscall.EINVAL))
	fails("set attributes: none", syscall.EINVAL, sysSetAttributes, 0, 0, 0)
	fails("attributes: of nobody", syscall.ESRCH, sysGetAttributes, 1<<30, at(unsafe.Pointer(&got)), 48, 0)
}
