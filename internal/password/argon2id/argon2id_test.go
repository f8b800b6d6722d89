package argon2id

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
)

// ways runs f with each code that this processor can run.
func ways(t *testing.T, f func(t *testing.T)) {
	has := vectors
	defer func() { vectors = has }()
	for name, with := range map[string]bool{"portable": false, "vectors": true} {
		if with && !has {
			continue // there is nothing to run it on
		}
		vectors = with
		t.Run(name, f)
	}
}

// What golang.org/x/crypto makes of the same is what is made here: over few and many blocks, passes, lanes, lengths.
func TestSumsAreThoseOfTheReference(t *testing.T) {
	ways(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		text := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			return b
		}
		for i := range 400 {
			password, salt := text(random.IntN(200)), text(8+random.IntN(40))
			passes, lanes := uint32(1+random.IntN(4)), uint8(1+random.IntN(5))
			memory, length := uint32(random.IntN(700)), uint32(1+random.IntN(200))
			if i%40 == 0 {
				memory = 4096 + uint32(random.IntN(4096))
			}
			got, want := Key(password, salt, passes, memory, lanes, length), argon2.IDKey(password, salt, passes, memory, lanes, length)
			if !bytes.Equal(got, want) {
				t.Fatalf("%d passes over %d KiB, %d lanes, %d bytes: %x, want %x", passes, memory, lanes, length, got, want)
			}
		}
		got, want := Key([]byte("correct horse"), []byte("0123456789abcdef"), 2, 19*1024, 1, 32), argon2.IDKey([]byte("correct horse"), []byte("0123456789abcdef"), 2, 19*1024, 1, 32)
		if !bytes.Equal(got, want) {
			t.Errorf("at the cost of the product: %x, want %x", got, want)
		}
	})
}

// The sums of the reference program in C, for the password "password" and the salt "somesalt".
func TestSumsOfTheReferenceProgram(t *testing.T) {
	ways(t, func(t *testing.T) {
		for _, c := range []struct {
			passes, memory uint32
			lanes          uint8
			want           string
		}{
			{1, 64, 1, "655ad15eac652dc59f7170a7332bf49b8469be1fdb9c28bb"},
			{2, 64, 1, "068d62b26455936aa6ebe60060b0a65870dbfa3ddf8d41f7"},
			{2, 64, 2, "350ac37222f436ccb5c0972f1ebd3bf6b958bf2071841362"},
			{3, 256, 2, "4668d30ac4187e6878eedeacf0fd83c5a0a30db2cc16ef0b"},
			{4, 4096, 4, "145db9733a9f4ee43edf33c509be96b934d505a4efb33c5a"},
			{4, 1024, 8, "8dafa8e004f8ea96bf7c0f93eecf67a6047476143d15577f"},
			{2, 64, 3, "4a15b31aec7c2590b87d1f520be7d96f56658172deaa3079"},
			{3, 1024, 6, "1640b932f4b60e272f5d2207b9a9c626ffa1bd88d2349016"},
		} {
			want, err := hex.DecodeString(c.want)
			if err != nil {
				t.Fatal(err)
			}
			if got := Key([]byte("password"), []byte("somesalt"), c.passes, c.memory, c.lanes, uint32(len(want))); !bytes.Equal(got, want) {
				t.Errorf("%d passes over %d KiB, %d lanes: %x, want %s", c.passes, c.memory, c.lanes, got, c.want)
			}
		}
	})
}

// Both codes do the same to any block, also where the result takes the place of what it is made of.
func TestCodesAreAlike(t *testing.T) {
	if !vectors {
		return // there is one code only
	}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 2000 {
		var out, a, b, scratch block
		for w := range a {
			out[w], a[w], b[w] = random.Uint64(), random.Uint64(), random.Uint64()
			switch i % 4 {
			case 1:
				a[w] = ^uint64(0)
			case 2:
				b[w] = 0
			case 3:
				a[w] >>= 32 // so that the low half is all there is
			}
		}
		xor := i%2 == 0
		for _, place := range []string{"apart", "a", "b"} {
			run := func(with bool) block {
				has := vectors
				defer func() { vectors = has }()
				vectors = with
				x, y, z := out, a, b
				switch place {
				case "apart":
					mix(&x, &y, &z, &scratch, xor)
					return x
				case "a":
					mix(&y, &y, &z, &scratch, xor)
					return y
				}
				mix(&z, &y, &z, &scratch, xor)
				return z
			}
			if run(true) != run(false) {
				t.Fatalf("block %d, %s, xor %v: the codes differ", i, place, xor)
			}
		}
	}
}

// Hashes beside each other do not share memory, and one leaves nothing that changes the next, whatever their sizes.
func TestMemoryIsUsedAgain(t *testing.T) {
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 30 {
				memory := uint32(64 << ((worker + i) % 5))
				salt := []byte{byte(worker), byte(i), 3, 4, 5, 6, 7, 8}
				if !bytes.Equal(Key([]byte("x"), salt, 2, memory, 1, 32), argon2.IDKey([]byte("x"), salt, 2, memory, 1, 32)) {
					t.Errorf("worker %d, hash %d: another sum", worker, i)
				}
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(Key([]byte("x"), []byte("01234567"), 1, 40<<10, 1, 32), argon2.IDKey([]byte("x"), []byte("01234567"), 1, 40<<10, 1, 32)) {
		t.Error("too large to be kept: another sum")
	}
	for _, m := range idle.list {
		if len(m.blocks)*blockSize > keep {
			t.Errorf("%d blocks were kept", len(m.blocks))
		}
	}
	// What a hash allocates beside its memory is small.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		Key([]byte("x"), []byte("01234567"), 1, 8<<10, 1, 32)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 20*(8<<20)/2 {
		t.Errorf("20 hashes of 8 MiB allocated %d MiB", n>>20)
	}
}

// What no hash used from one sweep to the next goes back; what one did use stays.
func TestMemoryGoesBack(t *testing.T) {
	hash := func() { Key([]byte("x"), []byte("01234567"), 1, 512, 1, 32) }
	sweep()
	sweep()
	if n := len(idle.list); n != 0 {
		t.Fatalf("%d are left", n)
	}
	hash()
	sweep()
	hash()
	sweep()
	if n := len(idle.list); n != 1 {
		t.Errorf("%d are kept while hashes come", n)
	}
	sweep()
	if n := len(idle.list); n != 0 {
		t.Errorf("%d are kept though no hash came", n)
	}
}

// Hashes of different sizes, as they come with people of other systems, leave no more memory than run at once.
func TestSizesLeaveOneMemory(t *testing.T) {
	for memory := range uint32(40) {
		Key([]byte("x"), []byte("01234567"), 1, 64+16*memory, 1, 32)
	}
	if n := len(idle.list); n != 1 {
		t.Errorf("%d memories are kept after hashes of 40 sizes, one after the other", n)
	}
	sweep()
	sweep()
}

// Others get their turn while a hash is computed, also where there is one processor for all.
func TestHashesGiveWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	turns, end, ended := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				turns++
				runtime.Gosched()
			}
		}
	}()
	const blocks = 2 * 4 << 10
	Key([]byte("x"), []byte("01234567"), 2, blocks/2, 1, 32)
	close(end)
	<-ended
	if turns < blocks/yieldEvery-1 {
		t.Errorf("%d turns while %d blocks were made", turns, blocks)
	}
}

func BenchmarkKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Key([]byte("correct horse battery staple"), []byte("0123456789abcdef"), 2, 19*1024, 1, 32)
	}
}

// The same where the processor has no such vectors.
func BenchmarkPortable(b *testing.B) {
	has := vectors
	defer func() { vectors = has }()
	vectors = false
	BenchmarkKey(b)
}

// The same by golang.org/x/crypto.
func BenchmarkReference(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		argon2.IDKey([]byte("correct horse battery staple"), []byte("0123456789abcdef"), 2, 19*1024, 1, 32)
	}
}
