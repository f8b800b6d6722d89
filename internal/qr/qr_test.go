package qr

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// The error correction of two published symbols of version 1-M: annex I of the standard, and the textbook example
// HELLO WORLD.
func TestCorrection(t *testing.T) {
	for _, c := range []struct{ data, want []byte }{
		{[]byte{16, 32, 12, 86, 97, 128, 236, 17, 236, 17, 236, 17, 236, 17, 236, 17}, []byte{165, 36, 212, 193, 237, 54, 199, 135, 44, 85}},
		{[]byte{32, 91, 11, 120, 209, 114, 220, 77, 67, 64, 236, 17, 236, 17, 236, 17}, []byte{196, 35, 39, 119, 235, 215, 231, 226, 93, 23}},
	} {
		if got := correction(c.data, 10); !bytes.Equal(got, c.want) {
			t.Errorf("correction of %v is %v, want %v", c.data, got, c.want)
		}
	}
}

// Every length that fits is read back by a reader that shares no code with the writer.
func TestReadBack(t *testing.T) {
	for n := range MaxBytes + 1 {
		text := strings.Repeat("https://mint.example.org/device?user_code=BCDF-GHJK \x00\xff", 5)[:n]
		c, err := New(text)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if got := read(t, c); got != text {
			t.Fatalf("%d bytes: read %q, want %q", n, got, text)
		}
	}
	if _, err := New(strings.Repeat("x", MaxBytes+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("%d bytes: %v", MaxBytes+1, err)
	}
}

func FuzzNew(f *testing.F) {
	seeds := []string{"", "x", "https://mint.example.org/device?user_code=BCDF-GHJK", strings.Repeat("\xff", MaxBytes)}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := New(text)
		if (err != nil) != (len(text) > MaxBytes) {
			t.Fatalf("%d bytes: %v", len(text), err)
		}
		if err == nil && read(t, c) != text {
			t.Fatalf("%q is read as something else", text)
		}
	})
}

// Format and version information as annexes C and D list them.
var (
	formats  = []string{"101010000010010", "101000100100101", "101111001111100", "101101101001011", "100010111111001", "100000011001110", "100111110010111", "100101010100000"}
	released = map[int]string{7: "000111110010010100", 8: "001000010110111100", 9: "001001101010011001", 10: "001010010011010011"}
	masks    = []func(i, j int) bool{ // i is the row, as in table 10
		func(i, j int) bool { return (i+j)%2 == 0 }, func(i, _ int) bool { return i%2 == 0 },
		func(_, j int) bool { return j%3 == 0 }, func(i, j int) bool { return (i+j)%3 == 0 },
		func(i, j int) bool { return (i/2+j/3)%2 == 0 }, func(i, j int) bool { return i*j%2+i*j%3 == 0 },
		func(i, j int) bool { return (i*j%2+i*j%3)%2 == 0 }, func(i, j int) bool { return ((i+j)%2+i*j%3)%2 == 0 },
	}
	// Per version: the sizes of the data blocks, and how many bytes of correction each has.
	layout = map[int]struct {
		data  []int
		check int
	}{
		1: {[]int{16}, 10}, 2: {[]int{28}, 16}, 3: {[]int{44}, 26}, 4: {[]int{32, 32}, 18}, 5: {[]int{43, 43}, 24}, 6: {[]int{27, 27, 27, 27}, 16},
		7: {[]int{31, 31, 31, 31}, 18}, 8: {[]int{38, 38, 39, 39}, 22}, 9: {[]int{36, 36, 36, 37, 37}, 22}, 10: {[]int{43, 43, 43, 43, 44}, 26},
	}
	centres = map[int][]int{2: {18}, 3: {22}, 4: {26}, 5: {30}, 6: {34}, 7: {6, 22, 38}, 8: {6, 24, 42}, 9: {6, 26, 46}, 10: {6, 28, 50}}
)

func digit(dark bool) byte {
	if dark {
		return '1'
	}
	return '0'
}

// read decodes a symbol as a reader does that sees it without a flaw, and checks all that the symbol says twice.
func read(t *testing.T, c *Code) string {
	t.Helper()
	n := c.Size()
	number := (n - 17) / 4
	var first, second, release []byte
	for _, at := range [][2]int{{0, 8}, {1, 8}, {2, 8}, {3, 8}, {4, 8}, {5, 8}, {7, 8}, {8, 8}, {8, 7}, {8, 5}, {8, 4}, {8, 3}, {8, 2}, {8, 1}, {8, 0}} {
		first = append(first, digit(c.Dark(at[0], at[1])))
	}
	for i := range 7 {
		second = append(second, digit(c.Dark(8, n-1-i)))
	}
	for i := range 8 {
		second = append(second, digit(c.Dark(n-8+i, 8)))
	}
	mask := -1
	for i, f := range formats {
		if string(first) == f {
			mask = i
		}
	}
	if mask < 0 || !bytes.Equal(first, second) || !c.Dark(8, n-8) {
		t.Fatalf("the format reads %s and %s", first, second)
	}
	for i := 17; i >= 0 && number >= 7; i-- {
		release = append(release, digit(c.Dark(n-11+i%3, i/3)))
		if c.Dark(n-11+i%3, i/3) != c.Dark(i/3, n-11+i%3) {
			t.Fatal("the two versions differ")
		}
	}
	if string(release) != released[number] {
		t.Fatalf("version %d reads %s", number, release)
	}
	for i := 8; i < n-8; i++ {
		if c.Dark(i, 6) != (i%2 == 0) || c.Dark(6, i) != (i%2 == 0) {
			t.Fatal("the timing pattern is broken")
		}
	}
	data := codewords(c, number, mask)
	at, blocks := 0, make([][]byte, len(layout[number].data))
	take := func(rounds int, wants func(block int) int) {
		for round := range rounds {
			for i := range blocks {
				if round < wants(i) {
					blocks[i] = append(blocks[i], data[at])
					at++
				}
			}
		}
	}
	take(64, func(i int) int { return layout[number].data[i] })
	take(layout[number].check, func(int) int { return layout[number].check })
	var message []byte
	for i, b := range blocks {
		if !sound(b, layout[number].check) {
			t.Fatalf("block %d is damaged", i)
		}
		message = append(message, b[:layout[number].data[i]]...)
	}
	var text strings.Builder
	for _, b := range message {
		for i := 7; i >= 0; i-- {
			text.WriteByte(digit(b&(1<<i) != 0))
		}
	}
	stream, width := text.String(), 8
	if number >= 10 {
		width = 16
	}
	value := func(s string) (v int) {
		for _, d := range s {
			v = 2*v + int(d-'0')
		}
		return v
	}
	if stream[:4] != "0100" {
		t.Fatalf("mode %s", stream[:4])
	}
	var out []byte
	length := value(stream[4 : 4+width])
	for i := range length {
		from := 4 + width + 8*i
		out = append(out, byte(value(stream[from:from+8])))
	}
	return string(out)
}

// codewords walks over the symbol as figure 16 shows it.
func codewords(c *Code, number, mask int) (out []byte) {
	n := c.Size()
	function := func(x, y int) bool {
		if x == 6 || y == 6 || x <= 8 && y <= 8 || x >= n-8 && y <= 8 || x <= 8 && y >= n-8 {
			return true
		}
		if number >= 7 && (x >= n-11 && y < 6 || y >= n-11 && x < 6) {
			return true
		}
		for _, cx := range centres[number] {
			for _, cy := range centres[number] {
				finder := (cx == 6 || cx == n-7) && (cy == 6 || cy == n-7) && (cx == 6 || cy == 6)
				if !finder && x >= cx-2 && x <= cx+2 && y >= cy-2 && y <= cy+2 {
					return true
				}
			}
		}
		return false
	}
	var read []byte
	up := true
	for x := n - 1; x > 0; x -= 2 {
		if x == 6 {
			x--
		}
		for i := range n {
			y := i
			if up {
				y = n - 1 - i
			}
			for _, at := range []int{x, x - 1} {
				if !function(at, y) {
					read = append(read, digit(c.Dark(at, y) != masks[mask](y, at)))
				}
			}
		}
		up = !up
	}
	for i := 0; i+8 <= len(read); i += 8 {
		var b byte
		for _, d := range read[i : i+8] {
			b = b<<1 | (d - '0')
		}
		out = append(out, b)
	}
	return out
}

// sound tells whether a block is a word of the code: it is zero at each root of the generator. Its arithmetic is by
// tables of powers.
func sound(block []byte, check int) bool {
	var power [255]byte
	var logarithm [256]int
	for i, x := 0, 1; i < 255; i++ {
		power[i], logarithm[x] = byte(x), i
		if x *= 2; x > 255 {
			x ^= 0x11d
		}
	}
	for root := range check {
		var value byte
		for i, b := range block {
			if b != 0 {
				value ^= power[(logarithm[b]+root*(len(block)-1-i))%255]
			}
		}
		if value != 0 {
			return false
		}
	}
	return true
}

func TestOutput(t *testing.T) {
	c, err := New("https://mint.example.org/device")
	if err != nil {
		t.Fatal(err)
	}
	svg := c.SVG()
	if !strings.HasPrefix(svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 `) || !strings.HasSuffix(svg, `</svg>`) || strings.Contains(svg, "style") || strings.Contains(svg, "mint.") {
		t.Errorf("%s", svg)
	}
	lines := strings.Split(strings.TrimSuffix(c.Text(), "\n"), "\n")
	if len(lines) != (c.Size()+5)/2 {
		t.Errorf("%d lines for %d modules", len(lines), c.Size())
	}
	for y, line := range lines {
		runes := []rune(line)
		if len(runes) != c.Size()+4 {
			t.Fatalf("line %d has %d characters", y, len(runes))
		}
		for x, r := range runes {
			upper, lower := r == '█' || r == '▀', r == '█' || r == '▄'
			if upper == c.Dark(x-2, 2*y-2) || 2*y-1 < c.Size()+2 && lower == c.Dark(x-2, 2*y-1) {
				t.Fatalf("the character at %d, %d is %q", x, y, r)
			}
		}
	}
}
