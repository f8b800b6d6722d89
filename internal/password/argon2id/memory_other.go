//go:build !linux

package argon2id

// obtain gets nothing: the memory is Go's.
func obtain(int) []byte { return nil }

func release([]byte) {}
