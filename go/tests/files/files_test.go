package files

import (
	"os"
	"testing"
)

func TestData(t *testing.T) {
	for _, path := range []string{"testdata/hello.txt", "files_test.go", "../go.mod", "../pass/twice.go"} {
		if text, err := os.ReadFile(path); err != nil || len(text) == 0 {
			t.Error(path, err)
		}
	}
	defer os.Remove("testdata/new.txt")
	if err := os.WriteFile("testdata/new.txt", []byte("new"), 0o644); err != nil {
		t.Error(err)
	}
}
