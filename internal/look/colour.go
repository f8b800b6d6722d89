package look

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// The surfaces of the pages (web/static/style.css) on which text of the colour stands, and that are hardest to be read on:
// the darkest of the light ones, the lightest of the dark ones.
const (
	LightSurface = "#f4f2ed"
	DarkSurface  = "#26282d"

	readable = 4.55 // WCAG 2.2, 1.4.3 wants 4.5; colours have 8 bits
)

// Scheme are the colours on light, or on dark pages, as #rrggbb.
type Scheme struct {
	Accent string // of links and frames: readable on each surface
	Fill   string // of the main button: the configured colour
	OnFill string // of what stands on it
}

// Palette are the colours of a look.
type Palette struct{ Light, Dark Scheme }

// standard are the colours of the product, as style.css has them.
var standard = Palette{Scheme{"#96471b", "#96471b", "#ffffff"}, Scheme{"#eaa473", "#eaa473", "#1c1208"}}

type rgb [3]float64 // 0 to 255

var black, white = rgb{}, rgb{255, 255, 255}

func parseColour(s string) (c rgb, err error) {
	if len(s) != 7 || s[0] != '#' {
		return c, errors.New("not a colour")
	}
	for i := range c {
		v, err := strconv.ParseUint(s[1+2*i:3+2*i], 16, 8)
		if err != nil {
			return c, errors.New("not a colour")
		}
		c[i] = float64(v)
	}
	return c, nil
}

func (c rgb) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0])), int(math.Round(c[1])), int(math.Round(c[2])))
}

// luminance is the relative luminance of WCAG 2.2.
func (c rgb) luminance() float64 {
	sum := 0.0
	for i, weight := range [3]float64{0.2126, 0.7152, 0.0722} {
		v := math.Round(c[i]) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

// contrast is the contrast ratio of WCAG 2.2.
func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// toward is a part of the way from one colour to another.
func (c rgb) toward(to rgb, part float64) rgb {
	for i := range c {
		c[i] += (to[i] - c[i]) * part
	}
	return c
}

// readableOn is the colour, moved toward an end as little as makes it readable on the surface.
func (c rgb) readableOn(surface string, end rgb) rgb {
	s, err := parseColour(surface)
	if err != nil {
		return end // the surfaces are ours
	}
	const steps = 100
	for i := range steps {
		if moved := c.toward(end, float64(i)/steps); contrast(moved, s) >= readable {
			return moved
		}
	}
	return end
}

func paletteOf(c rgb) Palette {
	on := white
	if contrast(c, white) < readable {
		on = black // one of them always is readable
	}
	scheme := func(surface string, end rgb) Scheme {
		return Scheme{Accent: c.readableOn(surface, end).String(), Fill: c.String(), OnFill: on.String()}
	}
	return Palette{scheme(LightSurface, black), scheme(DarkSurface, white)}
}

func (s Scheme) css() string {
	return ":root{--accent:" + s.Accent + ";--fill:" + s.Fill + ";--on-fill:" + s.OnFill + "}"
}

// css is the stylesheet that stands after that of the pages.
func (p Palette) css() string {
	return p.Light.css() + "\n@media (prefers-color-scheme:dark){" + p.Dark.css() + "}\n"
}
