// Package pass has tests that pass, and code that is half covered by them.
package pass

// Twice doubles.
func Twice(n int) int {
	if n < 0 {
		return -Twice(-n)
	}
	return 2 * n
}
