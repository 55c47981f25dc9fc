// A list to choose from with the arrow keys (github.com/charmbracelet/bubbletea).
package main

import (
	"fmt"
	"os"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

type model struct {
	choices []string
	at      int
	chosen  string
	// The terminal's size, and what is said once it is not the first one.
	size tea.WindowSizeMsg
	note string
}

func (m model) Init() tea.Cmd { return nil }

func (m model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	if size, ok := message.(tea.WindowSizeMsg); ok {
		if m.size.Width > 0 {
			m.note = fmt.Sprintf("now %dx%d", size.Width, size.Height)
		}
		m.size = size
		return m, nil
	}
	key, ok := message.(tea.KeyMsg)
	if !ok {
		return m, nil
	}
	switch key.String() {
	case "ctrl+c", "q":
		return m, tea.Quit
	case "up":
		m.at = (m.at + len(m.choices) - 1) % len(m.choices)
	case "down":
		m.at = (m.at + 1) % len(m.choices)
	case "enter":
		m.chosen = m.choices[m.at]
		return m, tea.Quit
	}
	return m, nil
}

func (m model) View() string {
	var view strings.Builder
	view.WriteString("╭ What shall it be? ╮\n")
	for at, choice := range m.choices {
		line := fmt.Sprintf("│   %-16s│", choice)
		if at == m.at {
			line = fmt.Sprintf("│ \x1b[1;32m> %-16s\x1b[m│", choice)
		}
		view.WriteString(line + "\n")
	}
	view.WriteString("╰───────────────────╯\n" + m.note)
	return view.String()
}

func main() {
	program := tea.NewProgram(model{choices: []string{"coffee", "tea", "water"}}, tea.WithAltScreen())
	end, err := program.Run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if end.(model).chosen != "tea" {
		os.Exit(2)
	}
}
