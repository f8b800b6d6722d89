package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/web"
)

// check refuses a configuration that cannot work or is not safe, naming the setting.
func (c *Config) check() error {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("issuer: %q is not an http or https URL without query and fragment", c.Issuer)
	}
	if !slices.Contains([]string{"sqlite", "postgres", "postgresql"}, c.Engine()) {
		return errors.New("database.url: it must begin with sqlite: or postgres://")
	}
	if n := c.Database.MaxConnections; n < 4 || n > 10_000 {
		return fmt.Errorf("database.max_connections: %d is outside 4 to 10000", n)
	}
	for _, l := range []struct {
		name, addr string
		on         bool
	}{
		{"listen.public", c.Listen.Public, true},
		{"listen.s3", c.Listen.S3, c.S3On()},
		{"listen.operations", c.Listen.Operations, true},
	} {
		if _, _, err := net.SplitHostPort(l.addr); err != nil && l.on {
			return fmt.Errorf("%s: %q is not HOST:PORT", l.name, l.addr)
		}
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return errors.New("tls: cert_file and key_file go together")
	}
	if !slices.Contains([]string{"plain", "slash"}, c.Tokens.RealmForm) {
		return fmt.Errorf("tokens.realm_form: %q is neither plain nor slash", c.Tokens.RealmForm)
	}
	if !keys.Alg(c.Keys.Algorithm).Known() {
		return fmt.Errorf("signing_keys.algorithm: %q is none of ES256, EdDSA, RS256", c.Keys.Algorithm)
	}
	for _, alg := range c.Keys.Also {
		if !keys.Alg(alg).Known() {
			return fmt.Errorf("signing_keys.also: %q is none of ES256, EdDSA, RS256", alg)
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("log.level: %q is none of debug, info, warn, error", c.Log.Level)
	}
	if !slices.Contains([]string{"json", "text"}, c.Log.Format) {
		return fmt.Errorf("log.format: %q is neither json nor text", c.Log.Format)
	}
	if !slices.Contains([]string{"on", "off"}, c.Mithril.Serve) {
		return fmt.Errorf("mithril.serve: %q is neither on nor off", c.Mithril.Serve)
	}
	for _, p := range c.Mithril.TrustedConsumers {
		if _, err := netip.ParsePrefix(p); err != nil {
			return fmt.Errorf("mithril.trusted_consumers: %q is not a network such as 10.0.0.0/8", p)
		}
	}
	for _, p := range c.TrustedProxies {
		if _, err := netip.ParsePrefix(p); err != nil {
			return fmt.Errorf("trusted_proxies: %q is not a network such as 10.0.0.0/8", p)
		}
	}
	for _, p := range c.Outbound.Allow {
		if _, err := netip.ParsePrefix(p); err != nil {
			return fmt.Errorf("outbound.allow: %q is not a network such as 10.0.0.0/8", p)
		}
	}
	if err := c.checkTimes(); err != nil {
		return err
	}
	if err := c.checkRealms(); err != nil {
		return err
	}
	if err := c.checkTokens(); err != nil {
		return err
	}
	if err := c.checkMail(); err != nil {
		return err
	}
	return c.checkStores()
}

func (c *Config) checkRealms() error {
	if err := c.Look.Check(); err != nil {
		return fmt.Errorf("look: %w", err)
	}
	seen := map[string]bool{}
	for i, r := range c.Realms {
		at := fmt.Sprintf("realms[%d]", i)
		name, err := realm.Canonical(r.Name)
		if err != nil {
			return fmt.Errorf("%s: name %q is not made of a-z, 0-9 and single hyphens", at, r.Name)
		}
		if seen[name] {
			return fmt.Errorf("%s: realm %s is set twice", at, name)
		}
		if seen[name] = true; name == realm.Robots {
			return fmt.Errorf("%s: nobody of realm %s signs in at a page", at, name)
		}
		if !slices.Contains([]string{"", "optional", "required"}, r.SecondFactor) {
			return fmt.Errorf("%s: second_factor %q is neither optional nor required", at, r.SecondFactor)
		}
		if err := c.checkAccounts(r); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if err := r.Look.Check(); err != nil {
			return fmt.Errorf("%s: look: %w", at, err)
		}
		if err := attributes.Check(r.Attributes, attributes.Rules{Claim: reservedClaim, Scope: reservedScope, Languages: web.Languages()}); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if err := c.checkDirectory(r); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return nil
}

// realmNames are the realms that are set, and those among them whose people need a second factor.
func (c *Config) realmNames() (all, strict []string) {
	for _, r := range c.Realms {
		name, err := realm.Canonical(r.Name)
		if err != nil {
			continue // checked by Load
		}
		all = append(all, name)
		if r.SecondFactor == "required" {
			strict = append(strict, name)
		}
	}
	return all, strict
}

// looks are what the realms look like, by canonical name.
func (c *Config) looks() map[string]look.Settings {
	looks := map[string]look.Settings{}
	for _, r := range c.Realms {
		if name, err := realm.Canonical(r.Name); err == nil { // checked by Load
			looks[name] = r.Look
		}
	}
	return looks
}

// checkTimes refuses settings under which an application could be locked out or a verifier meet an unknown key.
func (c *Config) checkTimes() error {
	type bound struct {
		name     string
		value    Duration
		min, max time.Duration
	}
	for _, b := range []bound{
		{"tokens.service_lifetime", c.Tokens.ServiceLifetime, time.Minute, registry.LongestToken},
		{"tokens.bounds.min", c.Tokens.Bounds.Min, time.Second, time.Hour},
		{"tokens.bounds.max", c.Tokens.Bounds.Max, time.Minute, registry.LongestToken},
		{"tokens.bounds.max_refresh", c.Tokens.Bounds.MaxRefresh, time.Hour, 5 * 365 * 24 * time.Hour},
		{"tokens.owner_bounds.access", c.Tokens.OwnerBounds.Access, 10 * time.Second, registry.LongestToken},
		{"tokens.owner_bounds.id_token", c.Tokens.OwnerBounds.IDToken, 10 * time.Second, registry.LongestToken},
		{"tokens.owner_bounds.refresh_idle", c.Tokens.OwnerBounds.RefreshIdle, time.Minute, 5 * 365 * 24 * time.Hour},
		{"tokens.owner_bounds.refresh_absolute", c.Tokens.OwnerBounds.RefreshAbsolute, time.Minute, 5 * 365 * 24 * time.Hour},
		{"signing_keys.lead", c.Keys.Lead, 2 * time.Second, 7 * 24 * time.Hour},
		{"signing_keys.period", c.Keys.Period, 10 * time.Second, 400 * 24 * time.Hour},
		{"rotation.password_period", c.Rotation.PasswordPeriod, 2 * time.Second, 400 * 24 * time.Hour},
		{"rotation.secret_period", c.Rotation.SecretPeriod, 2 * time.Second, 400 * 24 * time.Hour},
		{"rotation.grace", c.Rotation.Grace, 2 * time.Second, 30 * 24 * time.Hour},
		{"rotation.max_overlap", c.Rotation.MaxOverlap, 4 * time.Second, 90 * 24 * time.Hour},
		{"shutdown_grace", c.ShutdownGrace, time.Second, 10 * time.Minute},
	} {
		if v := time.Duration(b.value); v < b.min || v > b.max {
			return fmt.Errorf("%s: %s is outside %s to %s", b.name, v, b.min, b.max)
		}
	}
	if b := c.Tokens.OwnerBounds; b.RefreshIdle > b.RefreshAbsolute {
		return fmt.Errorf("tokens.owner_bounds: refresh_idle (%s) is more than refresh_absolute (%s)", time.Duration(b.RefreshIdle), time.Duration(b.RefreshAbsolute))
	}
	if c.Rotation.MaxOverlap < 2*c.Rotation.Grace {
		return fmt.Errorf("rotation.max_overlap: %s must be at least twice rotation.grace (%s)", time.Duration(c.Rotation.MaxOverlap), time.Duration(c.Rotation.Grace))
	}
	if c.Keys.Period < 2*c.Keys.Lead {
		return fmt.Errorf("signing_keys.period: %s must be at least twice signing_keys.lead (%s)", time.Duration(c.Keys.Period), time.Duration(c.Keys.Lead))
	}
	return nil
}

func (c *Config) checkStores() error {
	seen := map[string]bool{"local": true}
	for i, s := range c.Stores {
		at := fmt.Sprintf("stores[%d]", i)
		if s.Name == "" || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return fmt.Errorf("%s: name %q is not made of a-z, 0-9 and hyphens", at, s.Name)
		}
		if seen[s.Name] {
			return fmt.Errorf("%s: there is a store %q already", at, s.Name)
		}
		seen[s.Name] = true
		switch {
		case s.Kind == "directory" && !filepath.IsAbs(s.Path):
			return fmt.Errorf("%s: path %q is not absolute", at, s.Path)
		case s.Kind == "s3" && (s.AccessKeyID == "") != (s.SecretKeyFile == ""):
			return fmt.Errorf("%s: access_key_id and secret_key_file go together", at)
		case s.Kind != "s3" && s.Kind != "directory":
			return fmt.Errorf("%s: kind %q is neither s3 nor directory", at, s.Kind)
		}
	}
	return nil
}
