// The memory of the machine: how much there is, and that every page of a large part of it holds
// what was written into it (memory above 4 GiB and around the hole below it included).
//
//	memory [-touch BYTES] [-least BYTES] [-most BYTES]
package main

import (
	"flag"
	"fmt"
	"syscall"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const page = 4096

func main() {
	touch := flag.Int("touch", 0, "bytes to write and read back")
	least := flag.Uint64("least", 0, "least memory the machine must have, in bytes")
	most := flag.Uint64("most", 1<<62, "most memory the machine may have, in bytes")
	flag.Parse()
	var info syscall.Sysinfo_t
	check.Must("sysinfo", syscall.Sysinfo(&info))
	total := info.Totalram * uint64(info.Unit)
	fmt.Println("total", total, "free", info.Freeram*uint64(info.Unit))
	check.That("total memory", total >= *least && total <= *most, total)
	if *touch > 0 {
		use(*touch)
	}
	check.Done()
}

func use(size int) {
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.Must("map", err)
	dirty := 0
	for at := 0; at < size; at += page {
		if memory[at] != 0 || memory[at+page-1] != 0 {
			dirty++
		}
		number := at / page
		for i := 0; i < 4; i++ {
			memory[at+i] = byte(number >> (8 * i))
		}
		memory[at+page-1] = byte(number)
	}
	check.Equal("pages that were not zero", dirty, 0)
	wrong := 0
	for at := 0; at < size; at += page {
		number := at / page
		for i := 0; i < 4; i++ {
			if memory[at+i] != byte(number>>(8*i)) {
				wrong++
				break
			}
		}
		if memory[at+page-1] != byte(number) {
			wrong++
		}
	}
	check.Equal("pages that lost their content", wrong, 0)
	check.NoError("unmap", syscall.Munmap(memory))
}
