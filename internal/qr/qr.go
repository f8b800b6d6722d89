// Package qr draws QR codes (ISO/IEC 18004:2015), so that a phone can take an address from a screen.
//
// What it guards: whatever text is drawn is what a phone reads, or there is an error; nothing is fetched, and nothing but
// the text goes into the picture. It knows what we draw and no more: byte mode, error correction level M, which survives
// the loss of 15 %, and versions 1 to 10, which hold up to 213 bytes.
package qr

import (
	"errors"
	"fmt"
)

// MaxBytes is how long a text may be.
const MaxBytes = 213

// ErrTooLong is in the chain of the error about a text of more than MaxBytes.
var ErrTooLong = errors.New("qr: the text is too long")

// Code is a drawn code.
type Code struct {
	size int
	dark []bool // by row
	set  []bool // belongs to a pattern of the symbol itself and carries no data
}

// version is what the standard's table 9 says of one size at level M: blocks of data, each followed by its own error
// correction. The last `longer` blocks have one byte of data more.
type version struct {
	blocks, longer int
	data, check    int // bytes of each block
	align          []int
}

var versions = []version{
	1:  {1, 0, 16, 10, nil},
	2:  {1, 0, 28, 16, []int{6, 18}},
	3:  {1, 0, 44, 26, []int{6, 22}},
	4:  {2, 0, 32, 18, []int{6, 26}},
	5:  {2, 0, 43, 24, []int{6, 30}},
	6:  {4, 0, 27, 16, []int{6, 34}},
	7:  {4, 0, 31, 18, []int{6, 22, 38}},
	8:  {4, 2, 38, 22, []int{6, 24, 42}},
	9:  {5, 2, 36, 22, []int{6, 26, 46}},
	10: {5, 1, 43, 26, []int{6, 28, 50}},
}

// dataBytes is how many bytes the version holds, with mode and length.
func (v version) dataBytes() int { return v.blocks*v.data + v.longer }

// lengthBits is the size of the length in byte mode.
func lengthBits(number int) int {
	if number < 10 {
		return 8
	}
	return 16
}

// New draws the text in the smallest version that holds it.
func New(text string) (*Code, error) {
	for number := 1; number < len(versions); number++ {
		v := versions[number]
		if 4+lengthBits(number)+8*len(text) <= 8*v.dataBytes() {
			return draw(number, interleave(v, encode(number, text))), nil
		}
	}
	return nil, fmt.Errorf("%w: %d bytes, and %d fit", ErrTooLong, len(text), MaxBytes)
}

// Size is the number of modules on a side, without the quiet zone.
func (c *Code) Size() int { return c.size }

// Dark tells whether the module is dark. What lies outside is light.
func (c *Code) Dark(x, y int) bool {
	return x >= 0 && y >= 0 && x < c.size && y < c.size && c.dark[y*c.size+x]
}

// encode makes the data bytes: mode, length, text, and what fills the rest (sections 7.4.5 and 7.4.10).
func encode(number int, text string) []byte {
	v := versions[number]
	var b bits
	b.add(0b0100, 4)
	b.add(len(text), lengthBits(number))
	for i := range len(text) {
		b.add(int(text[i]), 8)
	}
	b.add(0, min(4, 8*v.dataBytes()-b.n))
	b.add(0, (8-b.n%8)%8)
	for pad := 0xec; len(b.bytes) < v.dataBytes(); pad ^= 0xec ^ 0x11 {
		b.add(pad, 8)
	}
	return b.bytes
}

// bits are written from the most significant one.
type bits struct {
	bytes []byte
	n     int
}

func (b *bits) add(value, count int) {
	for i := count - 1; i >= 0; i-- {
		if b.n%8 == 0 {
			b.bytes = append(b.bytes, 0)
		}
		b.bytes[b.n/8] |= byte(value>>i&1) << (7 - b.n%8)
		b.n++
	}
}

// interleave cuts the data into blocks, computes their error correction, and takes a byte of each in turn (section 7.6).
func interleave(v version, data []byte) []byte {
	var blocks, checks [][]byte
	for i := range v.blocks {
		n := v.data
		if i >= v.blocks-v.longer {
			n++
		}
		blocks, checks = append(blocks, data[:n]), append(checks, correction(data[:n], v.check))
		data = data[n:]
	}
	var out []byte
	for i := range v.data + 1 {
		for _, b := range blocks {
			if i < len(b) {
				out = append(out, b[i])
			}
		}
	}
	for i := range v.check {
		for _, c := range checks {
			out = append(out, c[i])
		}
	}
	return out
}

// correction is the remainder of the data divided by the generator of Reed and Solomon's code (section 7.5.2).
func correction(data []byte, n int) []byte {
	generator := make([]byte, n) // without its leading 1, highest power first
	generator[n-1] = 1
	root := byte(1)
	for range n {
		for j := range generator {
			generator[j] = multiply(generator[j], root)
			if j+1 < n {
				generator[j] ^= generator[j+1]
			}
		}
		root = multiply(root, 2)
	}
	rest := make([]byte, n)
	for _, d := range data {
		factor := d ^ rest[0]
		copy(rest, rest[1:])
		rest[n-1] = 0
		for j, g := range generator {
			rest[j] ^= multiply(g, factor)
		}
	}
	return rest
}

// multiply works in the field of 256 elements modulo x⁸+x⁴+x³+x²+1.
func multiply(a, b byte) byte {
	product := 0
	for i := 7; i >= 0; i-- {
		product = product<<1 ^ product>>7*0x11d
		product ^= int(b>>i&1) * int(a)
	}
	return byte(product)
}
