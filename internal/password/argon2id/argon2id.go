// Package argon2id computes Argon2id (RFC 9106), version 1.3, in memory that is used again.
//
// What it guards:
//   - A hash of 19 MiB costs no new memory: to allocate, clear and collect it took as long as a tenth of the hash, and the
//     collector's time was everybody's.
//   - A hash gives way: others wait for it for a fraction of a millisecond, not for the ten after which Go takes a processor
//     away.
//   - Its sums are those of golang.org/x/crypto/argon2, which the tests compare with it, and of the RFC's vector.
//
// Lanes are computed one after another, whatever their number, so that one hash takes one processor.
package argon2id

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/crypto/blake2b"
)

// Version is that of the algorithm, as stored forms name it.
const Version = 0x13

const (
	kind       = 2 // Argon2id
	syncPoints = 4
	words      = 128 // of a block

	// yieldEvery is after how many blocks, of a third of a microsecond each, others get their turn. More often costs more
	// than it gives: each turn of a hash with a thread of its own is one of the system's.
	yieldEvery = 512
)

type block [words]uint64

// Key makes a sum of length bytes of a password, in so many passes over memory (KiB) and with so many lanes. None of them
// may be 0: whoever reads a stored hash has checked it.
func Key(password, salt []byte, passes, memory uint32, lanes uint8, length uint32) []byte {
	if passes < 1 || lanes < 1 || length < 1 {
		panic("argon2id: no passes, no lanes or no length")
	}
	p := uint32(lanes)
	seed := first(password, salt, passes, memory, p, length)
	n := max(memory/(syncPoints*p), 2) * syncPoints * p
	m := take(int(n))
	defer m.give()
	f := filling{blocks: m.blocks[:n], work: &m.work, passes: passes, lanes: p, lane: n / p, segment: n / p / syncPoints}
	f.begin(&seed)
	for pass := range passes {
		for slice := range uint32(syncPoints) {
			for lane := range p {
				f.fill(pass, slice, lane)
			}
		}
	}
	return f.sum(length)
}

// first is H0 (RFC 9106, section 3.2), with room for the two numbers of a block behind it.
func first(password, salt []byte, passes, memory, lanes, length uint32) (seed [blake2b.Size + 8]byte) {
	var text []byte
	for _, n := range []uint32{lanes, length, memory, passes, Version, kind} {
		text = binary.LittleEndian.AppendUint32(text, n)
	}
	for _, part := range [][]byte{password, salt, nil, nil} { // neither secret nor associated data
		text = binary.LittleEndian.AppendUint32(text, uint32(len(part)))
		text = append(text, part...)
	}
	sum := blake2b.Sum512(text)
	clear(text)
	copy(seed[:], sum[:])
	return seed
}

// filling is one hash under way.
type filling struct {
	blocks        []block
	work          *work
	passes, lanes uint32
	lane, segment uint32 // lengths, in blocks
	untilYield    int
}

// begin makes the first two blocks of each lane.
func (f *filling) begin(seed *[blake2b.Size + 8]byte) {
	var text [8 * words]byte
	for lane := range f.lanes {
		for i := range uint32(2) {
			binary.LittleEndian.PutUint32(seed[blake2b.Size:], i)
			binary.LittleEndian.PutUint32(seed[blake2b.Size+4:], lane)
			stretch(text[:], seed[:])
			b := &f.blocks[lane*f.lane+i]
			for w := range b {
				b[w] = binary.LittleEndian.Uint64(text[8*w:])
			}
		}
	}
}

// fill makes the blocks of one segment. In the first half of the first pass what they refer to does not depend on the
// password (section 3.4.1.3).
func (f *filling) fill(pass, slice, lane uint32) {
	w := f.work
	independent := pass == 0 && slice < syncPoints/2
	index := uint32(0)
	if pass == 0 && slice == 0 {
		index = 2 // begin has made these
	}
	if independent {
		w.in = block{uint64(pass), uint64(lane), uint64(slice), uint64(len(f.blocks)), uint64(f.passes), kind}
		f.nextAddresses()
	}
	at := lane*f.lane + slice*f.segment + index
	for ; index < f.segment; index, at = index+1, at+1 {
		if independent && index%words == 0 && index > 0 {
			f.nextAddresses()
		}
		before := at - 1
		if index == 0 && slice == 0 {
			before += f.lane // the last of the lane
		}
		random := f.blocks[before][0]
		if independent {
			random = w.addresses[index%words]
		}
		other := f.refer(random, pass, slice, lane, index)
		mix(&f.blocks[at], &f.blocks[before], &f.blocks[other], &w.scratch, pass > 0)
		if f.untilYield--; f.untilYield <= 0 {
			f.untilYield = yieldEvery
			runtime.Gosched()
		}
	}
}

func (f *filling) nextAddresses() {
	w := f.work
	w.in[6]++
	mix(&w.addresses, &w.in, &w.zero, &w.scratch, false)
	mix(&w.addresses, &w.addresses, &w.zero, &w.scratch, false)
}

// refer is the block that a random number refers to (section 3.4.2).
func (f *filling) refer(random uint64, pass, slice, lane, index uint32) uint32 {
	other := uint32(random>>32) % f.lanes
	if pass == 0 && slice == 0 {
		other = lane
	}
	// The area is what is there of the other lane, or of this one: the three segments that are whole, or fewer in the
	// first pass, and of one's own also the part of the present one.
	area, start := 3*f.segment, (slice+1)%syncPoints*f.segment
	if pass == 0 {
		area, start = slice*f.segment, 0
	}
	if other == lane {
		area += index
	}
	if index == 0 || other == lane {
		area--
	}
	x := random & 0xffffffff
	x = x * x >> 32
	x = uint64(area) * x >> 32
	return other*f.lane + uint32((uint64(start)+uint64(area)-1-x)%uint64(f.lane))
}

// sum is the tag (section 3.2, step 7).
func (f *filling) sum(length uint32) []byte {
	last := f.blocks[f.lane-1]
	for lane := uint32(1); lane < f.lanes; lane++ {
		for w, x := range &f.blocks[lane*f.lane+f.lane-1] {
			last[w] ^= x
		}
	}
	var text [8 * words]byte
	for w, x := range last {
		binary.LittleEndian.PutUint64(text[8*w:], x)
	}
	out := make([]byte, length)
	stretch(out, text[:])
	return out
}

// stretch is H' (section 3.3): a hash of any length.
func stretch(out, in []byte) {
	h, err := blake2b.New(min(len(out), blake2b.Size), nil)
	if err != nil {
		panic("argon2id: " + err.Error()) // a length of 0: a bug of the caller
	}
	var size [4]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(out)))
	h.Write(size[:])
	h.Write(in)
	for sum := h.Sum(nil); ; {
		if len(out) <= blake2b.Size {
			copy(out, sum)
			return
		}
		copy(out, sum[:blake2b.Size/2])
		if out = out[blake2b.Size/2:]; len(out) > blake2b.Size {
			next := blake2b.Sum512(sum)
			sum = next[:]
			continue
		}
		if h, err = blake2b.New(len(out), nil); err != nil {
			panic("argon2id: " + err.Error())
		}
		h.Write(sum)
		sum = h.Sum(nil)
	}
}
