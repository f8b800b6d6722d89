package qr

import (
	"strconv"
	"strings"
)

// quiet is the light border without which readers do not find the symbol (section 6.3.8).
const quiet = 4

// SVG is the code as a picture of a document: dark on light whatever colours are around it, as wide as its place. It
// holds no text of the code, no style and no script.
func (c *Code) SVG() string {
	var b strings.Builder
	side := strconv.Itoa(c.size + 2*quiet)
	b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ` + side + ` ` + side + `" shape-rendering="crispEdges" aria-hidden="true"><path fill="#fff" d="M0 0h` + side + `v` + side + `H0z"/><path fill="#000" d="`)
	for y := range c.size {
		for x := 0; x < c.size; x++ {
			if !c.Dark(x, y) {
				continue
			}
			from := x
			for c.Dark(x+1, y) {
				x++
			}
			run := strconv.Itoa(x + 1 - from)
			b.WriteString("M" + strconv.Itoa(from+quiet) + " " + strconv.Itoa(y+quiet) + "h" + run + "v1h-" + run + "z")
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String()
}

// Text is the code for a terminal that shows light on dark, in lines of half blocks, two modules high. Where it is shown
// dark on light it is a negative, which phones read as well.
func (c *Code) Text() string {
	const border = 2 // there is little room, and the terminal around it is mostly empty
	var b strings.Builder
	for y := -border; y < c.size+border; y += 2 {
		for x := -border; x < c.size+border; x++ {
			upper, lower := !c.Dark(x, y), !c.Dark(x, y+1) && y+1 < c.size+border
			switch {
			case upper && lower:
				b.WriteString("█")
			case upper:
				b.WriteString("▀")
			case lower:
				b.WriteString("▄")
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
