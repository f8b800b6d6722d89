package app

import (
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/identity/account"
)

// TestMailAndAccountSettings holds what is refused of the settings by which people get letters and make accounts, and that
// each refusal names the setting.
func TestMailAndAccountSettings(t *testing.T) {
	const smtp = "mail:\n  kind: smtp\n  from: mint@example.org\n  server: mail.example.org:587\n"
	for _, c := range []struct{ name, file, want string }{
		{"kind", "mail:\n  kind: pigeon\n", "mail.kind"},
		{"tls", "mail:\n  tls: none\n", "mail.tls"},
		{"mailbox for strangers", "issuer: https://mint.example.org\nmail:\n  kind: mailbox\n", "mail.kind"},
		{"mailbox at an address that looks local", "issuer: https://localhost.example.org\nmail:\n  kind: mailbox\n", "mail.kind"},
		{"no sender", "mail:\n  kind: smtp\n  server: mail.example.org:587\n", "mail.from"},
		{"no port", "mail:\n  kind: smtp\n  from: mint@example.org\n  server: mail.example.org\n", "mail.server"},
		{"user without password", smtp + "  username: mint\n", "password_file"},
		{"password without user", smtp + "  password_file: /x\n", "password_file"},
		{"registration", smtp + "realms:\n  - name: customers\n    registration: everybody\n", "registration"},
		{"domains without registration", smtp + "realms:\n  - name: customers\n    registration_domains: [example.org]\n", "registration_domains"},
		{"registration of no domains", smtp + "realms:\n  - name: customers\n    registration: domains\n", "registration_domains"},
		{"no domain", smtp + "realms:\n  - name: customers\n    registration: domains\n    registration_domains: [Example.org]\n", "registration_domains"},
		{"verification", smtp + "realms:\n  - name: customers\n    email_verification: always\n", "email_verification"},
		{"registration without mail", "realms:\n  - name: customers\n    registration: open\n", "mail.kind"},
		{"verification without mail", "realms:\n  - name: customers\n    email_verification: required\n", "mail.kind"},
		{"field", "realms:\n  - name: customers\n    profile_fixed: [shoe_size]\n", "profile_fixed"},
		{"short password alone", "realms:\n  - name: customers\n    password_length: 14\n", "password_length"},
		{"short password beside a second factor that nobody must have", "realms:\n  - name: customers\n    second_factor: optional\n    password_length: 8\n", "password_length"},
		{"too short a password", "realms:\n  - name: customers\n    second_factor: required\n    password_length: 7\n", "password_length"},
		{"password that nobody remembers", "realms:\n  - name: customers\n    password_length: 65\n", "password_length"},
		{"negative password", "realms:\n  - name: customers\n    second_factor: required\n    password_length: -1\n", "password_length"},
	} {
		if _, err := Load(Source{File: write(t, c.file)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	c, err := Load(Source{File: write(t, smtp+"realms:\n  - name: customers\n    second_factor: required\n    password_length: 8\n    profile_fixed: [name, email]\n  - name: employees\n    password_length: 20\n")})
	if err != nil {
		t.Fatal(err)
	}
	if l := c.passwordLengths(); l["customers"] != 8 || l["employees"] != 20 || len(l) != 2 {
		t.Errorf("%v", l)
	}
	p := c.accountPolicies()
	if f := p["customers"].Fixed; len(f) != 2 || f[0] != account.Name || f[1] != account.Email {
		t.Errorf("%v", f)
	}
	// Whatever is not said is closed.
	for _, name := range []string{"customers", "employees", "others"} {
		if p[name].Registration != account.Closed {
			t.Errorf("realm %s: registration %q", name, p[name].Registration)
		}
	}
}
