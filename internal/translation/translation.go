// Package translation reads files of texts in other languages.
//
// It guards one thing: that a text is there once, and has a translation. Texts are written in English in the program; the
// file of a language holds, for each, a line with it and a line with "= " and its translation. Gaps are {0}, {1} and so on.
package translation

import (
	"fmt"
	"strconv"
	"strings"
)

// Parse reads such a file. Empty lines and lines that begin with # stand between the pairs.
func Parse(file string) (map[string]string, error) {
	texts, key := map[string]string{}, ""
	for n, line := range strings.Split(file, "\n") {
		translated, is := strings.CutPrefix(line, "= ")
		switch {
		case is && key != "" && strings.TrimSpace(translated) != "":
			if _, twice := texts[key]; twice {
				return nil, fmt.Errorf("line %d: %q is there twice", n+1, key)
			}
			texts[key], key = translated, ""
		case is || key != "":
			return nil, fmt.Errorf("line %d: %q has no translation, or nothing to translate", n+1, key)
		case line != "" && !strings.HasPrefix(line, "#"):
			key = line
		}
	}
	if key != "" {
		return nil, fmt.Errorf("%q has no translation", key)
	}
	return texts, nil
}

// Fill fills the gaps of a text. What fills one is not looked at for others.
func Fill(text string, args []string) string {
	pairs := make([]string, 0, 2*len(args))
	for i, a := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", a)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
