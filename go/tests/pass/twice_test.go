package pass

import (
	"os"
	"testing"
	"time"
)

func TestTwice(t *testing.T) {
	if Twice(2) != 4 {
		t.Fatal("2 + 2 is not 4")
	}
}

func TestSkipped(t *testing.T) {
	t.Run("inner", func(t *testing.T) { t.Skip("not today") })
}

// The environment is the host's, the folder the package's.
func TestSurroundings(t *testing.T) {
	directory, err := os.Getwd()
	if err != nil || directory != os.Getenv("PWD") {
		t.Fatal(directory, err)
	}
	if _, err := time.LoadLocation("Europe/Berlin"); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTwice(b *testing.B) {
	for i := 0; i < b.N; i++ {
		Twice(i)
	}
}
