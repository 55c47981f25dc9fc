package main

import (
	"fmt"
	"io/ioutil"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// rowOwners: a row of /proc/net/tcp and its kin tells the inode of the socket, by which its descriptor is found.
func rowOwners() {
	for _, row := range []struct {
		table string
		v6    bool
		kind  int
	}{
		{"tcp", false, syscall.SOCK_STREAM}, {"tcp6", true, syscall.SOCK_STREAM},
		{"udp", false, syscall.SOCK_DGRAM}, {"udp6", true, syscall.SOCK_DGRAM},
	} {
		family := syscall.AF_INET
		if row.v6 {
			family = syscall.AF_INET6
		}
		fds := []int{open(family, row.kind)}
		check.Must("row owners: bind", syscall.Bind(fds[0], loopback(row.v6, 0)))
		if row.kind == syscall.SOCK_STREAM {
			check.Must("row owners: listen", syscall.Listen(fds[0], 1))
			fds = append(fds, open(family, row.kind))
			check.Must("row owners: connect", syscall.Connect(fds[1], loopback(row.v6, portOf(fds[0]))))
			check.Equal("row owners: nobody's as long as it is not accepted", inodes(row.table)[0], true)
			accepted, _, err := syscall.Accept(fds[0])
			check.Must("row owners: accept", err)
			fds = append(fds, accepted)
		}
		found := inodes(row.table)
		for _, fd := range fds {
			var status syscall.Stat_t
			check.Must("row owners: fstat", syscall.Fstat(fd, &status))
			check.Equal("row owners: "+row.table, found[status.Ino], true)
			syscall.Close(fd)
		}
	}
}

// inodes are those of the rows of a table in /proc/net.
func inodes(table string) map[uint64]bool {
	text, err := ioutil.ReadFile("/proc/net/" + table)
	check.Must("row owners: "+table, err)
	found := map[uint64]bool{}
	for _, line := range strings.Split(string(text), "\n")[1:] {
		if fields := strings.Fields(line); len(fields) > 9 {
			inode, err := strconv.ParseUint(fields[9], 10, 64)
			check.NoError("row owners: a number", err)
			found[inode] = true
		}
	}
	return found
}

// internet: /proc/net/snmp counts packets and messages of ICMP.
func internet() {
	before := snmp()
	closed := udpSocket(false)
	check.Must("internet: bind", syscall.Bind(closed, loopback(false, 0)))
	nobody := loopback(false, portOf(closed))
	syscall.Close(closed)
	const sent = 3
	for i := 0; i < sent; i++ {
		fd := udpSocket(false)
		check.NoError("internet: connect", syscall.Connect(fd, nobody))
		_, err := syscall.Write(fd, []byte("x"))
		check.NoError("internet: send", err)
		check.That("internet: refused", polled(fd, pollIn, patience) != 0)
		syscall.Close(fd)
	}
	after := snmp()
	for name, least := range map[string]int64{
		"Ip InReceives": 2 * sent, "Ip InDelivers": 2 * sent, "Ip OutRequests": 2 * sent, "Ip InHdrErrors": 0,
		"Icmp InMsgs": sent, "Icmp InDestUnreachs": sent, "Icmp OutMsgs": sent, "Icmp OutDestUnreachs": sent,
		"Udp NoPorts": sent,
	} {
		was, known := before[name]
		check.That("internet: "+name, known && after[name]-was >= least, was, after[name])
	}
	check.Equal("internet: TTL", after["Ip DefaultTTL"], int64(64))
}

// snmp is what /proc/net/snmp says, by table and name.
func snmp() map[string]int64 {
	text, err := ioutil.ReadFile("/proc/net/snmp")
	check.Must("internet: snmp", err)
	found := map[string]int64{}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, counts := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		check.Equal("internet: as many counts as names", len(counts), len(names))
		check.Equal("internet: of one table", counts[0], names[0])
		for j := 1; j < len(names) && j < len(counts); j++ {
			count, err := strconv.ParseInt(counts[j], 10, 64)
			check.NoError("internet: a number", err)
			found[strings.TrimSuffix(names[0], ":")+" "+names[j]] = count
		}
	}
	return found
}

// hardware: /sys has a directory for each network interface, and one for each processor.
func hardware() {
	interfaces, err := net.Interfaces()
	check.Must("hardware: interfaces", err)
	entries, err := ioutil.ReadDir("/sys/class/net")
	check.Must("hardware: /sys/class/net", err)
	names := map[string]bool{}
	for _, entry := range entries {
		names[entry.Name()] = true
	}
	for _, one := range interfaces {
		check.That("hardware: has "+one.Name, names[one.Name])
		folder := "/sys/class/net/" + one.Name + "/"
		check.Equal("hardware: mtu of "+one.Name, textOf(folder+"mtu"), fmt.Sprintln(one.MTU))
		check.Equal("hardware: index of "+one.Name, textOf(folder+"ifindex"), fmt.Sprintln(one.Index))
		flags, err := strconv.ParseUint(strings.TrimSpace(textOf(folder+"flags")), 0, 32)
		check.That("hardware: flags of "+one.Name, err == nil && flags&syscall.IFF_UP != 0 == (one.Flags&net.FlagUp != 0), flags, err)
		if len(one.HardwareAddr) > 0 {
			check.Equal("hardware: address of "+one.Name, textOf(folder+"address"), fmt.Sprintln(one.HardwareAddr))
		}
	}
	folder := "/sys/class/net/lo/"
	for name, want := range map[string]string{
		"type": "772\n", "operstate": "unknown\n", "address": "00:00:00:00:00:00\n", "addr_len": "6\n", "carrier": "1\n",
	} {
		check.Equal("hardware: "+name, textOf(folder+name), want)
	}
	before, err := strconv.ParseUint(strings.TrimSpace(textOf(folder+"statistics/rx_packets")), 10, 64)
	check.NoError("hardware: a number", err)
	fd := udpSocket(false)
	check.Must("hardware: bind", syscall.Bind(fd, loopback(false, 0)))
	check.NoError("hardware: send", syscall.Sendto(fd, []byte("x"), 0, loopback(false, portOf(fd))))
	syscall.Close(fd)
	after, err := strconv.ParseUint(strings.TrimSpace(textOf(folder+"statistics/rx_packets")), 10, 64)
	check.That("hardware: what came is counted", err == nil && after > before, before, after, err)
	_, err = os.Stat("/sys/class/net/nowhere7")
	check.That("hardware: no such interface", os.IsNotExist(err), err)

	processors, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*")
	check.That("hardware: processors", err == nil && len(processors) >= runtime.NumCPU(), processors, err)
	for _, processor := range processors {
		number := strings.TrimPrefix(filepath.Base(processor), "cpu")
		check.That("hardware: core "+number, textOf(processor+"/topology/core_id") != "")
		check.That("hardware: package of "+number, textOf(processor+"/topology/physical_package_id") != "")
		list := strings.TrimSpace(textOf(processor + "/topology/thread_siblings_list"))
		check.That("hardware: threads of "+number, strings.Contains(","+strings.Replace(list, "-", ",", -1)+",", ","+number+",") || strings.Contains(list, "-"), list)
	}
	_, err = os.Stat("/sys/devices/system/cpu/cpu4095")
	check.That("hardware: no such processor", os.IsNotExist(err), err)
}
