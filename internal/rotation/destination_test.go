package rotation_test

import (
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/rotation"
)

var destinations = map[string]string{ // text → canonical text, or "" if it is refused
	"aws/shop-mint":                  "aws/shop-mint",
	"shop-mint":                      "local/shop-mint",
	"local/a.b-c":                    "local/a.b-c",
	"s/abc":                          "s/abc",
	"aws/" + strings.Repeat("a", 63): "aws/" + strings.Repeat("a", 63),
	"aws/" + strings.Repeat("a", 64): "",
	"":                               "",
	"ab":                             "",
	"Ab-c":                           "",
	"/abc":                           "",
	"aws/":                           "",
	"aws/abc/def":                    "",
	"s3://abc":                       "",
	"aws/-abc":                       "",
	"aws/abc.":                       "",
	"aws/a..b":                       "",
	"aws/../etc":                     "",
	"AWS/abc":                        "",
	"-aws/abc":                       "",
	"aws/ab\x00c":                    "",
	"aws/äbc":                        "",
	"aws/abc\n":                      "",
}

func TestParseDestination(t *testing.T) {
	for text, want := range destinations {
		d, err := rotation.ParseDestination(text)
		switch {
		case want == "" && !fault.Is(err, fault.Invalid):
			t.Errorf("%q: %v, %v", text, d, err)
		case want != "" && (err != nil || d.String() != want):
			t.Errorf("%q: %v, %v", text, d, err)
		case err != nil && strings.ContainsAny(fault.Of(err).Detail, "\x00\n"):
			t.Errorf("%q: the answer shows control characters: %q", text, fault.Of(err).Detail)
		}
	}
}

// seeds is what FuzzParseDestination starts from.
func seeds() (all []string) {
	for text := range destinations {
		all = append(all, text)
	}
	return all
}

func TestSeedsLoad(t *testing.T) {
	good := 0
	for _, s := range seeds() {
		if _, err := rotation.ParseDestination(s); err == nil {
			good++
		}
	}
	if good < 5 || len(seeds()) < 20 {
		t.Fatalf("%d seeds, %d of them good", len(seeds()), good)
	}
}

func FuzzParseDestination(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := rotation.ParseDestination(text)
		if err != nil {
			if e := fault.Of(err); e.Kind != fault.Invalid || len(e.Detail) > 500 {
				t.Fatalf("%q: %+v", text, e)
			}
			return
		}
		if again, err := rotation.ParseDestination(d.String()); err != nil || again != d {
			t.Fatalf("%q is %v, which is %v, %v", text, d, again, err)
		}
		if strings.Contains(d.Bucket, "/") || strings.Contains(d.Bucket, "..") || len(d.Bucket) < 3 || len(d.Bucket) > 63 {
			t.Fatalf("%q: %+v", text, d)
		}
	})
}
