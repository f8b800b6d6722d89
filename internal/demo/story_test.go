package demo

import (
	"bytes"
	"strings"
	"testing"
)

// What the demo shows can be shown to a room: no secret stands there in full, and nothing else is changed.
func TestSecretsAreVeiled(t *testing.T) {
	for _, prefix := range []string{"mmp_", "mmc_", "mmk_", "mms_"} {
		secret := prefix + "Zt8-Qw_1rT5yU9iO0pA2sD4fG6hJ8kL1zX3cV5bN7mQ" // as long as generated ones
		for _, text := range []string{
			secret, `{"application_password":"` + secret + `"}`, "password=" + secret + "&x=1", "two " + secret + "\n" + secret,
		} {
			got := veil(text)
			if strings.Contains(got, secret[len(prefix)+6:]) || !strings.Contains(got, prefix) {
				t.Errorf("%s", got)
			}
		}
	}
	const token = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
	if got := veil(`"access_token":"` + token + `"`); strings.Contains(got, "c2lnbmF0dXJl") || strings.Contains(got, "eyJzdWIiOiJ4In0") {
		t.Errorf("%s", got)
	}
	for _, text := range []string{
		"aws_secret_access_key = AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcd", `"secret_access_key": "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcd"`,
		"AWS_SECRET_ACCESS_KEY=AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcd",
	} {
		if got := veil(text); strings.Contains(got, "StUvWxYz0123") {
			t.Errorf("%s", got)
		}
	}
	for _, plain := range []string{"application sales-orders of team shop", "cli_01m81r8q6sek0azrxa31jwhpht", "mm_", "HTTP 401", "eyJ is how it begins", "MMRFMXRCP2BH3A4MA5F2"} {
		if got := veil(plain); got != plain {
			t.Errorf("%s became %s", plain, got)
		}
	}
}

// A command is shown as it is run, and its failure ends the story with its name.
func TestACommandIsShownAsItIsRun(t *testing.T) {
	var out bytes.Buffer
	s := &story{out: &out, dir: t.TempDir(), env: []string{"WHO=world"}}
	if err := s.run(t.Context(), `echo "hello $WHO"; pwd >here`); err != nil {
		t.Fatal(err)
	}
	if want := "   $ echo \"hello $WHO\"; pwd >here\n     hello world\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
	if err := s.run(t.Context(), "exit 3"); err == nil || !strings.Contains(err.Error(), "exit 3") {
		t.Errorf("%v", err)
	}
}
