package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/catalog"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// RegistrationOptions say who may register clients, and for how long (RFC 7591).
type RegistrationOptions struct {
	// Issuer is the base of the addresses in answers.
	Issuer string
	// Anonymous lets strangers register clients without an initial access token: untrusted ones, few from one address.
	Anonymous bool
	// Unused is how long a registered client is kept that nobody used. 0: 30 days.
	Unused time.Duration
	// SecretLife is how long the secret of a registered client is good. 0: for ever.
	SecretLife time.Duration
}

const (
	anonymousLimit  = 5 // registrations from one network
	anonymousWindow = time.Hour
	unusedLife      = 30 * 24 * time.Hour

	registrationPrefix = "mmg_"
	registrationKind   = "registration-access-token"
)

// commonScopes are those that every client may ask people for: a client that names them in its registration asks for
// nothing that would have to be written down.
var commonScopes = []string{UID, "openid", "profile", "email", "address", "phone", "offline_access"}

// registration is what a client sends about itself, and what it is told (RFC 7591 section 2, RFC 7592 section 2). Members
// that are not here are left aside, as the standard wants.
type registration struct {
	ClientID               string          `json:"client_id,omitempty"`
	ClientSecret           string          `json:"client_secret,omitempty"`
	ClientName             string          `json:"client_name,omitempty"`
	RedirectURIs           []string        `json:"redirect_uris,omitempty"`
	PostLogoutRedirectURIs []string        `json:"post_logout_redirect_uris,omitempty"`
	GrantTypes             []string        `json:"grant_types,omitempty"`
	Scope                  string          `json:"scope,omitempty"`
	JWKS                   json.RawMessage `json:"jwks,omitempty"`
	ApplicationType        string          `json:"application_type,omitempty"`
	api.ClientMetadata

	sector *sectorList // what the sector identifier URI lists, if it was read

	// Only in answers.
	SecretExpires     *int64 `json:"client_secret_expires_at,omitempty"`
	Issued            int64  `json:"client_id_issued_at,omitempty"`
	RegistrationToken string `json:"registration_access_token,omitempty"`
	RegistrationURI   string `json:"registration_client_uri,omitempty"`
}

// Members that are standard and that this server does not take: to leave them aside would let the client believe that it
// is protected, or reachable, by what nobody reads.
var refusedMembers = map[string]string{
	"software_statement": "invalid_software_statement",
	"request_uris":       "invalid_client_metadata",
}

// Members that only an answer has.
var answerMembers = []string{"client_secret_expires_at", "client_id_issued_at", "registration_access_token", "registration_client_uri"}

// parseRegistration reads what a client sends. Of members that were sent under a name that only looks alike, such as in
// other letters, nothing is read.
func parseRegistration(body []byte, update bool) (registration, []jose.Key, error) {
	none := func(code, format string, args ...any) (registration, []jose.Key, error) {
		return registration{}, nil, fault.New(fault.Invalid, code, format, args...)
	}
	members, err := jsonMembers(body)
	if err != nil {
		return none("invalid_client_metadata", "Send one JSON object, each member once.")
	}
	for _, name := range answerMembers {
		if _, ok := members[name]; ok && update {
			return none("invalid_client_metadata", "%s is said by the server and cannot be set.", name)
		}
		delete(members, name)
	}
	for name, code := range refusedMembers {
		if _, ok := members[name]; ok {
			return none(code, "%s is not supported here.", name)
		}
	}
	if !update { // neither is a client's to choose
		delete(members, "client_id")
		delete(members, "client_secret")
	}
	known := map[string]json.RawMessage{}
	for _, name := range registrationMembers {
		if value, ok := members[name]; ok && string(value) != "null" {
			known[name] = value
		}
	}
	b, err := json.Marshal(known)
	if err != nil {
		return none("invalid_client_metadata", "Send one JSON object, each member once.")
	}
	var in registration
	if err := json.Unmarshal(b, &in); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			code := "invalid_client_metadata"
			if strings.Contains(wrong.Field, "redirect_uris") {
				code = "invalid_redirect_uri"
			}
			return none(code, "%s has the wrong type.", wrong.Field)
		}
		return none("invalid_client_metadata", "The members cannot be read.")
	}
	keys, err := parseJWKS(in.JWKS)
	if err != nil {
		return none("invalid_client_metadata", "jwks: %s.", err)
	}
	return in, keys, nil
}

// registrationMembers are the names of all members that a client may send.
var registrationMembers = func() []string {
	list := []string{"client_id", "client_secret", "client_name", "redirect_uris", "post_logout_redirect_uris", "grant_types", "scope", "jwks", "application_type"}
	// What an administrator gives, and what is about this installation alone, is no part of a registration.
	return append(list, "token_endpoint_auth_method", "token_endpoint_auth_signing_alg", "response_types",
		"id_token_signed_response_alg", "id_token_encrypted_response_alg", "id_token_encrypted_response_enc",
		"userinfo_signed_response_alg", "userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc",
		"authorization_signed_response_alg", "introspection_signed_response_alg", "request_object_signing_alg",
		"require_signed_request_object", "require_pushed_authorization_requests", "default_max_age", "require_auth_time", "default_acr_values",
		"jwks_uri", "subject_type", "sector_identifier_uri", "backchannel_logout_uri", "backchannel_logout_session_required", "frontchannel_logout_uri", "frontchannel_logout_session_required",
		"client_uri", "logo_uri", "policy_uri", "tos_uri", "contacts", "initiate_login_uri", "software_id", "software_version")
}()

// jsonMembers reads one JSON object whose names are each there once: two readers take different ones of two.
func jsonMembers(b []byte) (map[string]json.RawMessage, error) {
	bad := errors.New("not one JSON object, each member once")
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, bad
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, bad
		}
		var value json.RawMessage
		if _, twice := members[name]; twice || d.Decode(&value) != nil {
			return nil, bad
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, bad
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad
	}
	return members, nil
}

func parseJWKS(raw json.RawMessage) ([]jose.Key, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	keys, err := jose.ParseKeySet(raw)
	if err != nil {
		return nil, err
	}
	if len(keys) > maxProofs {
		return nil, fmt.Errorf("%w: a set has at most %d keys", jose.ErrKey, maxProofs)
	}
	for i := range keys {
		if err := nameKey(&keys[i]); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys[:i], func(other jose.Key) bool { return other.ID == keys[i].ID }) {
			return nil, fmt.Errorf("%w: two keys have the same kid", jose.ErrKey)
		}
	}
	return keys, nil
}

// settings are what the registration says, within what its policy allows.
func (in registration) settings(p policy, stranger bool) (s Settings, confidential bool, err error) {
	refuse := func(format string, args ...any) (Settings, bool, error) {
		return Settings{}, false, fault.New(fault.Invalid, "invalid_client_metadata", format, args...)
	}
	s = Settings{Name: in.ClientName, RedirectURIs: in.RedirectURIs, PostLogoutRedirectURIs: in.PostLogoutRedirectURIs, RefreshTokens: RefreshNever, Metadata: metadataOf(in.ClientMetadata), sector: in.sector}
	if s.Name == "" {
		s.Name = "Unnamed client"
	}
	if in.ApplicationType != "" && in.ApplicationType != "web" && in.ApplicationType != "native" {
		return refuse("application_type is web or native.")
	}
	grants := in.GrantTypes
	if len(grants) == 0 {
		grants = []string{GrantAuthorizationCode} // RFC 7591 section 2
	}
	for _, g := range grants {
		if g == GrantRefreshToken {
			s.RefreshTokens = RefreshAlways
			continue
		}
		if !p.grant(g) {
			return refuse("The grant type %s cannot be registered here.", printable(g))
		}
		s.GrantTypes = append(s.GrantTypes, g)
	}
	for _, uri := range in.RedirectURIs {
		if why := checkRedirect(uri); why != "" {
			return Settings{}, false, fault.New(fault.Invalid, "invalid_redirect_uri", "%s", why)
		}
		if !p.host(uri) {
			return Settings{}, false, fault.New(fault.Invalid, "invalid_redirect_uri", "The host of a redirect URI is none of those that may be registered with this token.")
		}
	}
	// Where we would call by ourselves. Who may be called is asked again at each call; a stranger need not even try.
	if u := s.Metadata.BackchannelLogoutURI; u != "" && !publicHost(u) {
		return refuse("backchannel_logout_uri must be https, on a public host.")
	}
	switch m := s.Metadata; {
	case m.JWKSURI != "" && len(in.JWKS) > 0:
		return refuse("jwks and jwks_uri exclude each other.") // RFC 7591 section 2
	case stranger && m.JWKSURI != "" && !publicHost(m.JWKSURI):
		return refuse("jwks_uri must be https, on a public host.")
	case stranger && m.SectorURI != "":
		return refuse("sector_identifier_uri needs an initial access token: without one, a client is a sector of its own.")
	case m.AuthMethod == AuthPrivateKeyJWT && len(in.JWKS) == 0 && m.JWKSURI == "":
		return refuse("private_key_jwt needs jwks or jwks_uri.")
	}
	confidential = s.Metadata.AuthMethod != AuthNone
	return s, confidential, nil
}

// publicHost tells whether an https address names a host that is not plainly inside.
func publicHost(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" {
		return false
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return false // by an address alone nobody is known, and names without a dot are names inside
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "local" && last != "internal" && last != "localhost" && strings.Trim(last, "0123456789") != ""
}

func printable(s string) string {
	if len(s) > 80 || !plainASCII(s) {
		return "of this name"
	}
	return s
}

// checkStranger refuses a name by which a stranger's client could pass for one of the organisation's.
func checkStranger(ctx context.Context, tx db.ReadTx, name string) error {
	bad := fault.New(fault.Invalid, "invalid_client_metadata", "client_name: use letters of one script, digits and plain punctuation, and no name that is taken here.")
	script := ""
	for _, c := range name {
		switch {
		case c >= 0xff00 || c >= 0x2000 && c < 0x3000 || unicode.Is(unicode.Mn, c):
			return bad // letters that look like others by design
		case c < 0x80:
			if strings.ContainsRune("<>\"`\\{}|^", c) {
				return bad
			}
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			return bad
		}
		if unicode.IsLetter(c) {
			s := "other"
			for _, known := range []string{"Latin", "Cyrillic", "Greek"} {
				if unicode.Is(unicode.Scripts[known], c) {
					s = known
				}
			}
			if script != "" && s != script {
				return bad
			}
			script = s
		}
	}
	looks := skeleton(name)
	if strings.Contains(looks, skeleton("mintmark")) {
		return bad
	}
	// Clients that stand alone, and those that people know by another name than their application's, have a name of their own.
	rows, err := tx.Query(ctx, `SELECT name FROM applications UNION SELECT s.name FROM client_settings s JOIN clients c ON c.id = s.client_id
		WHERE s.name <> '' AND NOT c.untrusted LIMIT 20000`)
	if err != nil {
		return fmt.Errorf("read the names that are taken: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var taken string
		if err := rows.Scan(&taken); err != nil {
			return fmt.Errorf("read the names that are taken: %w", err)
		}
		if skeleton(taken) == looks {
			return bad
		}
	}
	return rows.Err()
}

// lookalikes are letters that most fonts draw alike.
var lookalikes = strings.NewReplacer("0", "o", "1", "l", "i", "l", "5", "s", "а", "a", "в", "b", "с", "c", "е", "e", "н", "h", "к", "k", "м", "m", "о", "o", "р", "p",
	"т", "t", "у", "y", "х", "x", "ѕ", "s", "і", "l", "ј", "j", "α", "a", "β", "b", "ε", "e", "η", "n", "ι", "l", "κ", "k", "μ", "m", "ν", "v", "ο", "o", "ρ", "p", "τ", "t", "υ", "u", "χ", "x")

// skeleton is what is left of a name for somebody who only glances at it.
func skeleton(name string) string {
	return lookalikes.Replace(strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, name))
}

// ownerScopes are those of the asked scopes that the policy and the catalog know. The others are left out, and the answer
// says so by not naming them (RFC 7591 section 2).
func ownerScopes(ctx context.Context, tx db.ReadTx, asked string, p policy) ([]string, error) {
	var list []string
	words := strings.Fields(asked)
	if len(words) > maxScopes {
		return nil, fault.New(fault.Invalid, "invalid_client_metadata", "scope names at most %d scopes.", maxScopes)
	}
	for _, name := range words {
		if slices.Contains(commonScopes, name) || !slices.Contains(p.Scopes, name) {
			continue
		}
		s, err := catalog.Lookup(ctx, tx, name)
		if fault.Is(err, fault.NotFound) || err == nil && !s.IsResourceOwnerScope {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, nil
}

// network is the part of an address that one stranger has: the address itself, of IPv6 the /64.
func network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "unknown"
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return prefix.String()
}

const registrarName = "registration"

// registers tells whether a client registers itself: then it is given nothing that an administrator must give, although
// the caller is the system.
func registers(c access.Caller) bool { return c.Kind == access.System && c.ID == registrarName }

// registrar is the caller in whose name registrations are recorded.
func registrar(ctx context.Context) access.Caller {
	c := access.SystemCaller(registrarName)
	c.IP, c.RequestID = route.ClientIP(ctx), route.RequestID(ctx)
	return c
}

// register stores a client that registers itself, and answers what it is told. token is the initial access token; empty
// for a stranger.
func (r *Registry) register(ctx context.Context, tx db.WriteTx, token redact.Secret, in registration, keys []jose.Key) (registration, error) {
	none := func(err error) (registration, error) { return registration{}, err }
	var t RegistrationToken
	from := ""
	if token.Empty() {
		if !r.o.Registration.Anonymous {
			return none(errRegistrationToken())
		}
		t.policy = strangers
		from = network(route.ClientIP(ctx))
		if err := withinLimit(ctx, tx, from); err != nil {
			return none(err)
		}
		if err := checkStranger(ctx, tx, in.ClientName); err != nil {
			return none(err)
		}
	} else {
		var err error
		if t, err = r.useRegistrationToken(ctx, tx, token); err != nil {
			return none(err)
		}
	}
	settings, confidential, err := in.settings(t.policy, token.Empty())
	if err != nil {
		return none(err)
	}
	scopes, err := ownerScopes(ctx, tx, in.Scope, t.policy)
	if err != nil {
		return none(err)
	}
	now, c := tx.Now(), registrar(ctx)
	n, secret, err := r.CreateClient(ctx, tx, c, StandaloneClient{
		Team: t.Team, Confidential: confidential, Untrusted: token.Empty(), Expires: now.Add(r.o.Registration.Unused), Settings: settings, OwnerScopes: scopes,
		secretLife: r.o.Registration.SecretLife,
	})
	if err != nil {
		return none(err)
	}
	if err := replaceKeys(ctx, tx, c, n.ID, keys); err != nil {
		return none(err)
	}
	if err := checkKeys(ctx, tx, n.ID, settings.Metadata); err != nil {
		return none(err)
	}
	access := seal.NewSecret(registrationPrefix)
	stored, err := json.Marshal(t.policy)
	if err != nil {
		return none(fmt.Errorf("write the policy of a registration: %w", err))
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO client_registrations (client_id, mac, registration_token, policy, network, created, ended) VALUES ($1, $2, $3, $4, $5, $6, 0)`,
		n.ID, r.keyring.MAC(registrationKind, access), t.ID, string(stored), from, db.Micros(now))); err != nil {
		return none(fmt.Errorf("store a registration: %w", err))
	}
	return r.told(n, keys, secret, access), nil
}

// withinLimit refuses a stranger who has registered enough. Those that are deleted count as well.
func withinLimit(ctx context.Context, tx db.ReadTx, from string) error {
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM client_registrations WHERE network = $1 AND created > $2`, from, db.Micros(tx.Now().Add(-anonymousWindow))).Scan(&n); err != nil {
		return fmt.Errorf("count registrations: %w", err)
	}
	if n >= anonymousLimit {
		return fault.New(fault.Limited, "too_many_registrations", "%d clients were registered from this address within an hour, which is the most.", n).Retry(anonymousWindow)
	}
	return nil
}

// told is the answer about a client. secret is empty unless it was made just now.
func (r *Registry) told(n StandaloneClient, keys []jose.Key, secret, token redact.Secret) registration {
	out := registration{
		ClientID: n.ID, Issued: n.Created.Unix(), ClientName: n.Settings.Name, RedirectURIs: n.Settings.RedirectURIs, PostLogoutRedirectURIs: n.Settings.PostLogoutRedirectURIs,
		GrantTypes: n.Settings.grantTypes(n.Confidential), Scope: strings.Join(slices.Concat(commonScopes, n.OwnerScopes), " "), ClientMetadata: n.Settings.Metadata.wire(),
		RegistrationToken: token.Reveal(), RegistrationURI: r.o.Registration.Issuer + "/oauth2/register/" + n.ID,
	}
	if slices.Contains(n.Settings.GrantTypes, GrantAuthorizationCode) {
		out.ResponseTypes = append([]string{"code"}, out.ResponseTypes...)
	}
	if out.AuthMethod == "" {
		out.AuthMethod = AuthClientSecretBasic // RFC 7591 section 2
		if !n.Confidential {
			out.AuthMethod = AuthNone
		}
	}
	if len(keys) > 0 {
		set := make([]string, len(keys))
		for i, k := range keys {
			set[i] = k.JWK()
		}
		out.JWKS = json.RawMessage(`{"keys":[` + strings.Join(set, ",") + "]}")
	}
	if !secret.Empty() {
		out.ClientSecret = secret.Reveal()
		until := int64(0)
		if life := r.o.Registration.SecretLife; life != 0 {
			until = n.Settings.Modified.Add(life).Unix()
		}
		out.SecretExpires = &until
	}
	return out
}
