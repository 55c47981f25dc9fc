// A line editor on the terminal (golang.org/x/term): it says what it read, until "exit" or Ctrl-C. With the
// argument "card" it shows a test card first: colours, boxes, blocks, wide text, the window's size.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	input := int(os.Stdin.Fd())
	columns, rows, err := term.GetSize(input)
	if err != nil {
		return fmt.Errorf("size: %w", err)
	}
	if len(os.Args) > 1 && os.Args[1] == "card" {
		card(columns, rows)
	}
	before, err := term.MakeRaw(input)
	if err != nil {
		return fmt.Errorf("raw: %w", err)
	}
	defer term.Restore(input, before)
	editor := term.NewTerminal(stdio{}, "> ")
	if err := editor.SetSize(columns, rows); err != nil {
		return err
	}
	for {
		line, err := editor.ReadLine()
		if err == io.EOF {
			// Ctrl-C, or Ctrl-D on an empty line.
			fmt.Fprint(editor, "end of input\n")
			return nil
		}
		if err != nil {
			return err
		}
		if line == "exit" {
			return nil
		}
		fmt.Fprintf(editor, "read %q\n", line)
	}
}

type stdio struct{}

func (stdio) Read(bytes []byte) (int, error)  { return os.Stdin.Read(bytes) }
func (stdio) Write(bytes []byte) (int, error) { return os.Stdout.Write(bytes) }

func card(columns, rows int) {
	fmt.Printf("\x1b[2J\x1b[Hsize %dx%d TERM=%s\n", columns, rows, os.Getenv("TERM"))
	for colour := 0; colour < 16; colour++ {
		fmt.Printf("\x1b[48;5;%dm  \x1b[m", colour)
	}
	fmt.Print(" \x1b[38;2;255;128;0mtrue colour\x1b[m \x1b[1mbold\x1b[m \x1b[4munderlined\x1b[m \x1b[7mreverse\x1b[m\n")
	fmt.Print("┌───┬───┐ ╔═══╗ ░▒▓█ ▁▂▃▄▅▆▇█ ▏▎▍▌▋▊▉ ▖▗▘▙▚▛▜▝▞▟ ⠁⠃⠇⡇⣿\n")
	fmt.Print("│ ä │ ß │ ║ ж ║ αβγ → ← ↑ ↓ ≤ ≥ ∞ € “quoted” …\n")
	fmt.Print("└───┴───┘ ╚═══╝ \x1b(0lqqqk\x1b(B wide: 漢字 end\n")
	fmt.Print(strings.Repeat("=", columns), "next\n")
}
