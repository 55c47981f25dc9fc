package panics

import "testing"

func TestPanics(t *testing.T) {
	var nowhere *int
	*nowhere = 1
}
