package qr

// draw puts the bytes into a symbol under the mask that makes it the easiest to read (section 7.8.3).
func draw(number int, data []byte) *Code {
	size := 17 + 4*number
	c := &Code{size: size, dark: make([]bool, size*size), set: make([]bool, size*size)}
	c.patterns(number)
	c.place(data)
	best, least := 0, -1
	for mask := range 8 {
		c.mask(mask)
		c.format(mask)
		if p := c.penalty(); least < 0 || p < least {
			best, least = mask, p
		}
		c.mask(mask) // takes it off again
	}
	c.mask(best)
	c.format(best)
	return c
}

// fix sets a module that carries no data.
func (c *Code) fix(x, y int, dark bool) {
	c.dark[y*c.size+x], c.set[y*c.size+x] = dark, true
}

// patterns draws what is the same in all symbols of the version: timing, finders with their separators, alignment,
// the place of the format, the version.
func (c *Code) patterns(number int) {
	for i := range c.size {
		c.fix(6, i, i%2 == 0)
		c.fix(i, 6, i%2 == 0)
	}
	for _, corner := range [][2]int{{3, 3}, {c.size - 4, 3}, {3, c.size - 4}} {
		for dy := -4; dy <= 4; dy++ {
			for dx := -4; dx <= 4; dx++ {
				if x, y := corner[0]+dx, corner[1]+dy; x >= 0 && y >= 0 && x < c.size && y < c.size {
					ring := max(abs(dx), abs(dy))
					c.fix(x, y, ring != 2 && ring != 4)
				}
			}
		}
	}
	align := versions[number].align
	for i, x := range align {
		for j, y := range align {
			last := len(align) - 1
			if i == 0 && j == 0 || i == 0 && j == last || i == last && j == 0 {
				continue // there is a finder
			}
			for dy := -2; dy <= 2; dy++ {
				for dx := -2; dx <= 2; dx++ {
					c.fix(x+dx, y+dy, max(abs(dx), abs(dy)) != 1)
				}
			}
		}
	}
	c.format(0)
	if number >= 7 {
		rest := number
		for range 12 {
			rest = rest<<1 ^ rest>>11*0x1f25
		}
		info := number<<12 | rest
		for i := range 18 {
			dark := info>>i&1 == 1
			c.fix(c.size-11+i%3, i/3, dark)
			c.fix(i/3, c.size-11+i%3, dark)
		}
	}
}

// format writes level M and the mask, twice (section 7.9.1).
func (c *Code) format(mask int) {
	rest := mask // level M is 00
	for range 10 {
		rest = rest<<1 ^ rest>>9*0x537
	}
	info := (mask<<10 | rest) ^ 0x5412
	for i := range 15 {
		dark := info>>i&1 == 1
		// Beside the finder of the upper left corner.
		switch {
		case i < 6:
			c.fix(8, i, dark)
		case i < 8:
			c.fix(8, i+1, dark)
		case i == 8:
			c.fix(7, 8, dark)
		default:
			c.fix(14-i, 8, dark)
		}
		// Beside the two others.
		if i < 8 {
			c.fix(c.size-1-i, 8, dark)
		} else {
			c.fix(8, c.size-15+i, dark)
		}
	}
	c.fix(8, c.size-8, true)
}

// place lays the bits in columns of two, from the right, upwards and downwards in turn (section 7.7.3).
func (c *Code) place(data []byte) {
	i := 0
	for right := c.size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5 // the timing pattern has a column to itself
		}
		for step := range c.size {
			y := step
			if (right+1)&2 == 0 {
				y = c.size - 1 - step
			}
			for _, x := range []int{right, right - 1} {
				if at := y*c.size + x; !c.set[at] && i < 8*len(data) {
					c.dark[at] = data[i/8]>>(7-i%8)&1 == 1
					i++
				}
			}
		}
	}
}

// mask turns the modules over that the pattern names (section 7.8.2); done twice, nothing has changed.
func (c *Code) mask(pattern int) {
	for y := range c.size {
		for x := range c.size {
			var over bool
			switch pattern {
			case 0:
				over = (x+y)%2 == 0
			case 1:
				over = y%2 == 0
			case 2:
				over = x%3 == 0
			case 3:
				over = (x+y)%3 == 0
			case 4:
				over = (x/3+y/2)%2 == 0
			case 5:
				over = x*y%2+x*y%3 == 0
			case 6:
				over = (x*y%2+x*y%3)%2 == 0
			case 7:
				over = ((x+y)%2+x*y%3)%2 == 0
			}
			if at := y*c.size + x; over && !c.set[at] {
				c.dark[at] = !c.dark[at]
			}
		}
	}
}

// penalty counts what makes a symbol hard to read (table 11): long runs, blocks of one colour, what looks like a finder,
// and an uneven share of dark modules.
func (c *Code) penalty() (sum int) {
	for i := range c.size {
		sum += c.line(func(j int) bool { return c.Dark(j, i) }) + c.line(func(j int) bool { return c.Dark(i, j) })
	}
	dark := 0
	for y := range c.size {
		for x := range c.size {
			d := c.Dark(x, y)
			if d {
				dark++
			}
			if x+1 < c.size && y+1 < c.size && d == c.Dark(x+1, y) && d == c.Dark(x, y+1) && d == c.Dark(x+1, y+1) {
				sum += 3
			}
		}
	}
	return sum + abs(100*dark/(c.size*c.size)-50)/5*10
}

// line is the penalty of one row or column.
func (c *Code) line(at func(int) bool) (sum int) {
	run := 0
	for i := range c.size {
		if i > 0 && at(i) == at(i-1) {
			run++
		} else {
			run = 1
		}
		switch {
		case run == 5:
			sum += 3
		case run > 5:
			sum++
		}
	}
	for i := 0; i+11 <= c.size; i++ {
		pattern := 0
		for j := range 11 {
			pattern <<= 1
			if at(i + j) {
				pattern |= 1
			}
		}
		if pattern == 0b10111010000 || pattern == 0b00001011101 {
			sum += 40
		}
	}
	return sum
}

func abs(n int) int { return max(n, -n) }
