package main

import (
	"net"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// groups: what sockets joined is in the lists of an interface's groups, as long as they are open.
func groups() {
	loopback, err := net.InterfaceByName("lo")
	check.Must("groups: lo", err)
	for _, row := range []struct{ network, group string }{{"udp4", "224.0.0.254"}, {"udp6", "ff01::114"}} {
		group := net.ParseIP(row.group)
		member := func() bool {
			addresses, err := loopback.MulticastAddrs()
			check.NoError("groups: list", err)
			for _, address := range addresses {
				if address.(*net.IPAddr).IP.Equal(group) {
					return true
				}
			}
			return false
		}
		check.That("groups: not joined "+row.group, !member())
		socket, err := net.ListenMulticastUDP(row.network, loopback, &net.UDPAddr{IP: group})
		check.Must("groups: join "+row.group, err)
		check.That("groups: joined "+row.group, member())
		if group.To4() != nil {
			byAddress(socket, group)
			said(row.network, group, loopback)
		}
		socket.Close()
		// Another thread may hold the socket for a moment.
		for end := time.Now().Add(patience); member() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		check.That("groups: left "+row.group, !member())
	}
}

// byAddress leaves and joins a group on the interface that has an address, as Go did before it named interfaces by their index.
func byAddress(socket *net.UDPConn, group net.IP) {
	raw, err := socket.SyscallConn()
	check.Must("groups: descriptor", err)
	check.NoError("groups: by address", raw.Control(func(fd uintptr) {
		request := syscall.IPMreq{Interface: [4]byte{127, 0, 0, 1}}
		copy(request.Multiaddr[:], group.To4())
		change := func(option int) error {
			return syscall.SetsockoptIPMreq(int(fd), syscall.IPPROTO_IP, option, &request)
		}
		check.NoError("groups: leave by address", change(syscall.IP_DROP_MEMBERSHIP))
		request.Interface = [4]byte{192, 0, 2, 1}
		check.Equal("groups: nobody's address", change(syscall.IP_ADD_MEMBERSHIP), error(syscall.ENODEV))
		request.Interface = [4]byte{127, 0, 0, 1}
		check.NoError("groups: join by address", change(syscall.IP_ADD_MEMBERSHIP))
	}))
}

// said sends to a group from an address of the loopback: by that interface it comes to all who have joined.
func said(network string, group net.IP, loopback *net.Interface) {
	const port = 5399
	own := net.IPv4(127, 0, 0, 1)
	var members []*net.UDPConn
	for i := 0; i < 2; i++ {
		member, err := net.ListenMulticastUDP(network, loopback, &net.UDPAddr{IP: group, Port: port})
		check.Must("groups: a member", err)
		defer member.Close()
		members = append(members, member)
	}
	sender, err := net.ListenUDP(network, &net.UDPAddr{IP: own})
	check.Must("groups: a sender", err)
	defer sender.Close()
	_, err = sender.WriteToUDP([]byte("all"), &net.UDPAddr{IP: group, Port: port})
	check.NoError("groups: say", err)
	for _, member := range members {
		bytes := make([]byte, 10)
		member.SetReadDeadline(time.Now().Add(patience))
		n, from, err := member.ReadFromUDP(bytes)
		check.That("groups: hear", err == nil && string(bytes[:n]) == "all" && from.IP.Equal(own), n, from, err)
	}
}
