package main

import (
	"io/ioutil"
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
