package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/registry"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mintmark.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreReadyToUse(t *testing.T) {
	c, err := Load(Source{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Issuer != "http://127.0.0.1:8080" || c.Engine() != "sqlite" || c.RootKey.File != "mintmark-data/root.key" || time.Duration(c.Rotation.SecretPeriod) != 720*time.Hour {
		t.Fatalf("%+v", c)
	}
}

func TestFileThenEnvironmentThenFlags(t *testing.T) {
	file := write(t, "issuer: https://file.example\nlisten:\n  public: 127.0.0.1:1\n  s3: 127.0.0.1:2\n  operations: 127.0.0.1:3\nrotation:\n  secret_period: 7d12h\n")
	c, err := Load(Source{
		File:   file,
		Env:    []string{"MINTMARK_LISTEN_S3=127.0.0.1:20", "MINTMARK_LISTEN_OPERATIONS=127.0.0.1:30", "MINTMARK_TRUSTED_PROXIES=10.0.0.0/8, ::1/128", "MINTMARK_OUTBOUND_ALLOW=10.0.0.0/8, fd00::/8", "MINTMARK_OUTBOUND_HTTP=true", "PATH=/bin", "MINTMARK_URL=x"},
		Values: map[string]string{"listen.operations": "127.0.0.1:300"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join([]string{c.Issuer, c.Listen.Public, c.Listen.S3, c.Listen.Operations, time.Duration(c.Rotation.SecretPeriod).String(), strings.Join(c.TrustedProxies, "+"), strings.Join(c.Outbound.Allow, "+"), fmt.Sprint(c.Outbound.HTTP)}, " ")
	if want := "https://file.example 127.0.0.1:1 127.0.0.1:20 127.0.0.1:300 180h0m0s 10.0.0.0/8+::1/128 10.0.0.0/8+fd00::/8 true"; got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestRefusesWithTheNameOfTheSetting(t *testing.T) {
	for _, c := range []struct{ name, file, env, want string }{
		{"unknown key", "isuer: x\n", "", "isuer"},
		{"unknown nested key", "listen:\n  pubic: x\n", "", "pubic"},
		{"unknown variable", "", "MINTMARK_LISTN_PUBLIC=x", "MINTMARK_LISTN_PUBLIC"},
		{"wrong type", "database:\n  max_connections: many\n", "", "line 2"},
		{"wrong type in a variable", "", "MINTMARK_DATABASE_MAX_CONNECTIONS=many", "MINTMARK_DATABASE_MAX_CONNECTIONS"},
		{"two documents", "issuer: https://a.example\n---\nissuer: https://b.example\n", "", "more than one document"},
		{"bare number as duration", "rotation:\n  grace: 30\n", "", "30"},
		{"negative duration", "rotation:\n  grace: -3s\n", "", "-3s"},
		{"issuer with query", "issuer: https://a.example?x=1\n", "", "issuer"},
		{"issuer of another scheme", "issuer: ftp://a.example\n", "", "issuer"},
		{"an attribute as subject", "realms:\n  - name: employees\n    attributes: [{name: number, claim: sub}]\n", "", "realms[0]: attributes[0]: claim sub"},
		{"an attribute as groups", "realms:\n  - name: employees\n    attributes: [{name: groups, scope: work}]\n", "", "realms[0]: attributes[0]: claim groups"},
		{"an attribute for everybody", "realms:\n  - name: employees\n    attributes: [{name: salary, scope: profile}]\n", "", "realms[0]: attributes[0]: scope \"profile\""},
		{"an attribute by another's scope", "realms:\n  - name: employees\n    attributes: [{name: salary, scope: groups}]\n", "", "realms[0]: attributes[0]: scope \"groups\""},
		{"an attribute by openid", "realms:\n  - name: employees\n    attributes: [{name: salary, scope: openid}]\n", "", "realms[0]: attributes[0]: scope \"openid\""},
		{"a member of an attribute", "realms:\n  - name: employees\n    attributes: [{name: salary, kind: x}]\n", "", "kind"},
		{"an attribute of nobody", "realms:\n  - name: employees\n    attributes: [{name: salary, editable: everybody}]\n", "", "realms[0]: attributes[0]: editable"},
		{"a label in a language without pages", "realms:\n  - name: employees\n    attributes: [{name: salary, labels: {fr: Salaire}}]\n", "", "realms[0]: attributes[0]: labels"},
		{"a member of a choice", "realms:\n  - name: employees\n    attributes: [{name: size, choices: [{value: s, labl: S}]}]\n", "", "labl"},
		{"asked for and not editable", "realms:\n  - name: employees\n    attributes: [{name: size, at_registration: required}]\n", "", "at_registration"},
		{"a colour by name", "realms:\n  - name: employees\n    look:\n      colour: red\n", "", "realms[0]: look: colour"},
		{"the colour of the place", "", "MINTMARK_LOOK_COLOUR=#12", "look: colour"},
		{"a link that runs", "look:\n  imprint: javascript:alert(1)\n", "", "look: imprint"},
		{"other database", "database:\n  url: mysql://x\n", "", "database.url"},
		{"too few connections", "database:\n  max_connections: -1\n", "", "database.max_connections"},
		{"url and file", "database:\n  url: sqlite:x\n  url_file: y\n", "", "url_file"},
		{"missing url file", "database:\n  url_file: /does/not/exist\n", "", "url_file"},
		{"address without port", "listen:\n  public: localhost\n", "", "listen.public"},
		{"half a TLS pair", "tls:\n  cert_file: x\n", "", "tls"},
		{"overlap shorter than two graces", "rotation:\n  grace: 20h\n", "", "max_overlap"},
		{"grace of nothing", "rotation:\n  grace: 1ms\n", "", "rotation.grace"},
		{"store twice", "stores:\n- {name: a, kind: directory, path: /x}\n- {name: a, kind: directory, path: /y}\n", "", "stores[1]"},
		{"store named local", "stores:\n- {name: local, kind: directory, path: /x}\n", "", "stores[0]"},
		{"relative directory", "stores:\n- {name: a, kind: directory, path: x}\n", "", "stores[0]"},
		{"store of another kind", "stores:\n- {name: a, kind: ftp}\n", "", "stores[0]"},
		{"proxy that is no network", "trusted_proxies: [10.0.0.1]\n", "", "trusted_proxies"},
		{"gateway that is no network", "mithril:\n  trusted_consumers: [gateway]\n", "", "mithril.trusted_consumers"},
		{"mithril neither on nor off", "mithril:\n  serve: perhaps\n", "", "mithril.serve"},
		{"allowed address that is no network", "outbound:\n  allow: [10.0.0.1]\n", "", "outbound.allow"},
		{"owner beyond every token", "tokens:\n  owner_bounds: {access: 25h}\n", "", "tokens.owner_bounds.access"},
		{"owner with less than none", "tokens:\n  owner_bounds: {id_token: 1s}\n", "", "tokens.owner_bounds.id_token"},
		{"owner idle beyond in all", "tokens:\n  owner_bounds: {refresh_idle: 400d}\n", "", "tokens.owner_bounds"},
		{"http neither on nor off", "", "MINTMARK_OUTBOUND_HTTP=maybe", "MINTMARK_OUTBOUND_HTTP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := Source{File: write(t, c.file)}
			if c.env != "" {
				src.Env = []string{c.env}
			}
			_, err := Load(src)
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an ErrConfig that names %s", err, c.want)
			}
		})
	}
}

// What owners may set reaches the registry: the defaults where nothing is said, and each value where it is.
// A choice is a word, or a value with what people read of it.
func TestChoicesOfAttributes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("realms:\n  - name: employees\n    attributes:\n      - {name: size, editable: person, choices: [s, 38, {value: l, label: Large, labels: {de: Groß}}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	a := c.Realms[0].Attributes[0]
	if len(a.Choices) != 3 || a.Choices[1].Title("de") != "38" || a.Choices[2].Value != "l" || a.Choices[2].Title("en") != "Large" || a.Choices[2].Title("de") != "Groß" || a.Title("de") != "size" {
		t.Errorf("%+v", a)
	}
}

func TestOwnerBounds(t *testing.T) {
	for file, want := range map[string]registry.Bounds{
		"": registry.DefaultBounds(),
		"tokens:\n  owner_bounds: {access: 15m, id_token: 5m, refresh_idle: 7d, refresh_absolute: 30d}\n": {
			AccessToken: 15 * time.Minute, IDToken: 5 * time.Minute, RefreshIdle: 7 * 24 * time.Hour, RefreshAbsolute: 30 * 24 * time.Hour},
	} {
		c, err := Load(Source{File: write(t, file), Env: []string{"MINTMARK_TOKENS_BOUNDS_MIN=30s"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ownerBounds(); got != want {
			t.Errorf("%q: %+v, want %+v", file, got, want)
		}
	}
}

func TestASecretURLIsNotShown(t *testing.T) {
	_, err := Load(Source{Values: map[string]string{"database.url": "mysql://u:canary-pass@h/d"}})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Fatalf("%v", err)
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"1d", "30d", "2h", "7d12h", "d", "1dd", "-1s", "99999d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d Duration
		if d.UnmarshalText([]byte(s)) != nil {
			return
		}
		b, err := d.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var again Duration
		if err := again.UnmarshalText(b); err != nil || again != d {
			t.Fatalf("%q reads as %s, which reads as %s (%v)", s, b, time.Duration(again), err)
		}
	})
}
