package oauth

import (
	"strconv"
	"testing"
	"time"
)

func TestCoverings(t *testing.T) {
	v := newCoverings()
	token := &Claims{ID: "tok_1", ClientID: "cli_1", Realm: "employees", Subject: "usr_1", IssuedAt: time.Unix(100, 0)}
	reaches := func(list ...covering) bool {
		v := newCoverings()
		v.add(list...)
		return (&revocations{many: v, expires: map[string]int64{}}).revoked(token)
	}
	for name, c := range map[string]struct {
		covering covering
		want     bool
	}{
		"all, later":              {covering{before: 101}, true},
		"all, the same second":    {covering{before: 100}, false},
		"all, earlier":            {covering{before: 99}, false},
		"its subject":             {covering{[]string{"sub"}, []string{"usr_1"}, 101}, true},
		"its subject, strictly":   {covering{[]string{"sub"}, []string{"usr_1"}, 100}, false},
		"another subject":         {covering{[]string{"sub"}, []string{"usr_2"}, 101}, false},
		"both":                    {covering{[]string{"client_id", "sub"}, []string{"cli_1", "usr_1"}, 101}, true},
		"one of two":              {covering{[]string{"client_id", "sub"}, []string{"cli_1", "usr_2"}, 101}, false},
		"a claim that is missing": {covering{[]string{"grant_id", "sub"}, []string{"", "usr_1"}, 101}, false},
		"missing and nothing":     {covering{[]string{"azp"}, []string{""}, 101}, false},
		"values run together":     {covering{[]string{"client_id", "sub"}, []string{"cli_1usr_1", ""}, 101}, false},
	} {
		if got := reaches(c.covering); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		text := c.covering.feedText()
		if back, ok := parseCovering(text); !ok || back.feedText() != text {
			t.Errorf("%s: %q is read as %+v", name, text, back)
		}
	}
	// The later of two counts, in whatever order they are heard.
	v.add(covering{[]string{"sub"}, []string{"usr_1"}, 200}, covering{[]string{"sub"}, []string{"usr_1"}, 150})
	v.hear(t, "garbage", "x\x1fsub\x1fusr_1", "300\x1fsub", "300\x1fsub client_id\x1fusr_1")
	if got := v.before(token); got != 200 || v.size() != 1 {
		t.Errorf("%d, %d entries", got, v.size())
	}
	v.add(covering{before: 50})
	v.prune(time.Unix(51, 0))
	if v.size() != 1 {
		t.Errorf("%d entries are left", v.size())
	}
	v.prune(time.Unix(201, 0))
	if v.size() != 0 || len(v.index.Load().sets) != 0 {
		t.Errorf("%d entries are left", v.size())
	}
}

func (v *coverings) hear(t *testing.T, keys ...string) {
	t.Helper()
	(&revocations{many: v}).hearMany(keys)
}

func TestSetsOfClaimsAreBounded(t *testing.T) {
	v := newCoverings()
	for i := range maxSets {
		v.add(covering{[]string{"claim" + strconv.Itoa(i)}, []string{"x"}, 1})
	}
	if v.tooMany([]string{"claim0"}) || !v.tooMany([]string{"another"}) {
		t.Error("the number of sets is not bounded")
	}
}

// FuzzRevocation: what is read says one thing alone, and what it does not know it refuses.
func FuzzRevocation(f *testing.F) {
	seeds := []string{
		`{"type":"TOKEN","data":{"token":"x"}}`, `{"type":"CLAIM","data":{"claims":{"sub":"jdoe"},"issued_before":1}}`, `{"type":"GLOBAL","data":{}}`,
		`{"type":"GLOBAL"}`, `{"type":"TOKEN","data":{"token":"x","token":"y"}}`, `{"data":{"claims":{"sub":1}},"type":"CLAIM"}`, `{"type":"CLAIM","data":{"claims":{}}}`, `[]`, ``,
	}
	good := 0
	for _, seed := range seeds {
		f.Add(seed)
		if _, err := parseRevocation([]byte(seed)); err == nil {
			good++
		}
	}
	if good != 5 {
		f.Fatalf("%d of the seeds are read, not 5", good)
	}
	f.Fuzz(func(t *testing.T, body string) {
		q, err := parseRevocation([]byte(body))
		if err != nil {
			return
		}
		if q.kind == revokeToken != (q.token != "") || q.kind == revokeClaim != (q.claims != nil) || len(q.claims) > maxRevokedClaims {
			t.Errorf("%q is read as %+v", body, q)
		}
	})
}

// A check costs as much with very many revocations as with a few.
func BenchmarkCoverings(b *testing.B) {
	token := &Claims{ID: "tok_1", ClientID: "cli_1", Realm: "employees", Subject: "usr_1", IssuedAt: time.Unix(100, 0)}
	for _, n := range []int{0, 10, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			v := newCoverings()
			list := make([]covering, 0, n)
			for i := range n {
				name := strconv.Itoa(i)
				if i%2 == 0 {
					list = append(list, covering{[]string{"sub"}, []string{name}, 101})
				} else {
					list = append(list, covering{[]string{"client_id", "sub"}, []string{"cli", name}, 101})
				}
			}
			v.add(list...)
			b.ReportAllocs()
			for b.Loop() {
				if v.before(token) != 0 {
					b.Fatal("it is not one of them")
				}
			}
		})
	}
}
