package look

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"image/png"
	"io"
)

const (
	maxLogo  = 32 << 10
	maxSide  = 2048 // pixels: a small file can be a very large picture
	maxDepth = 100
)

// picture tells what kind of picture the content is, and refuses what is none.
func picture(content []byte) (*asset, error) {
	if len(content) > maxLogo {
		return nil, fmt.Errorf("it has %d bytes, and a logo has at most %d", len(content), maxLogo)
	}
	switch {
	case bytes.HasPrefix(content, []byte("\x89PNG\r\n\x1a\n")):
		c, err := png.DecodeConfig(bytes.NewReader(content))
		if err != nil {
			return nil, fmt.Errorf("read the PNG: %w", err)
		}
		if c.Width > maxSide || c.Height > maxSide {
			return nil, fmt.Errorf("it is %d by %d pixels large, and a logo has at most %d on a side", c.Width, c.Height, maxSide)
		}
		return newAsset("logo", "png", "image/png", content), nil
	case len(content) > 12 && string(content[:4]) == "RIFF" && string(content[8:12]) == "WEBP":
		return newAsset("logo", "webp", "image/webp", content), nil
	}
	if err := checkSVG(content); err != nil {
		return nil, fmt.Errorf("it is neither PNG nor WebP, nor an SVG that can be served: %w", err)
	}
	return newAsset("logo", "svg", "image/svg+xml", content), nil
}

// checkSVG refuses what is no SVG or would do more than be looked at. Browsers run nothing in it anyway where it is a
// picture on a page, and by the policy that it is served with.
func checkSVG(content []byte) error {
	d := xml.NewDecoder(bytes.NewReader(content))
	depth, seen := 0, false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if !seen {
				return errors.New("it is empty")
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch x := token.(type) {
		case xml.Directive:
			if !bytes.HasPrefix(x, []byte("DOCTYPE svg")) || bytes.ContainsRune(x, '[') {
				return errors.New("it declares entities or another kind of document")
			}
		case xml.StartElement:
			if !seen && (x.Name.Local != "svg" || x.Name.Space != "http://www.w3.org/2000/svg") {
				return errors.New("its outermost element is not svg")
			}
			seen = true
			if depth++; depth > maxDepth {
				return errors.New("it is nested very deeply")
			}
			if x.Name.Local == "script" || x.Name.Local == "foreignObject" {
				return fmt.Errorf("it holds an element %s", x.Name.Local)
			}
		case xml.EndElement:
			depth--
		}
	}
}

// monogram is an icon: the first letter of the title, in the colours.
func monogram(title string, p Palette) []byte {
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%s"/>`+
		`<text x="16" y="22.5" text-anchor="middle" font-family="system-ui,sans-serif" font-size="19" font-weight="700" fill="%s">%s</text></svg>`,
		p.Light.Fill, p.Light.OnFill, html.EscapeString(letter(title)))
}
