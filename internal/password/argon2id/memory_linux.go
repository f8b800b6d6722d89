package argon2id

import "syscall"

// Advice to the system (linux/mman.h): pages of 2 MiB, and nothing of it in a core dump.
const (
	hugePages = 14
	notDumped = 16
)

// obtain gets memory from the system, in large pages if it will give them: a hash looks at one place after another all over
// its memory. nil: there is none.
func obtain(size int) []byte {
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	for _, advice := range []int{hugePages, notDumped} {
		_ = syscall.Madvise(b, advice) // without it the hash is the same
	}
	return b
}

func release(b []byte) {
	_ = syscall.Munmap(b) // what stays mapped is nobody's, and no more than that
}
