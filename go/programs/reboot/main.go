// Ends the machine by reboot(2), as its argument says: restart, off or halt. Never run it natively.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	commands := map[string]int{
		"restart": syscall.LINUX_REBOOT_CMD_RESTART,
		"off":     syscall.LINUX_REBOOT_CMD_POWER_OFF,
		"halt":    syscall.LINUX_REBOOT_CMD_HALT,
	}
	if len(os.Args) < 2 || os.Getpid() == 1 {
		os.Exit(2)
	}
	command, known := commands[os.Args[1]]
	if !known {
		os.Exit(2)
	}
	fmt.Println("the program is up")
	fmt.Println("reboot:", syscall.Reboot(command))
	os.Exit(1)
}
