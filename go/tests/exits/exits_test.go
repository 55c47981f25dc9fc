package exits

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	m.Run()
	os.Exit(7)
}

func TestPasses(t *testing.T) {}
