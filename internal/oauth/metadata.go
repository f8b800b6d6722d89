package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/registry"
)

// document is what clients need to know to use this server (RFC 8414, OpenID Connect Discovery). It names what exists
// now, and nothing else: a server for services alone has no authorization endpoint, so it supports no response type.
type document struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint,omitempty"`
	EndSessionEndpoint    string   `json:"end_session_endpoint,omitempty"`
	PAREndpoint           string   `json:"pushed_authorization_request_endpoint,omitempty"`
	RequirePAR            bool     `json:"require_pushed_authorization_requests,omitempty"`
	JWKSURI               string   `json:"jwks_uri"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint,omitempty"`
	RegistrationEndpoint  string   `json:"registration_endpoint,omitempty"`
	TokeninfoEndpoint     string   `json:"tokeninfo_endpoint"`
	Scopes                []string `json:"scopes_supported,omitempty"`
	GrantTypes            []string `json:"grant_types_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	ResponseModes         []string `json:"response_modes_supported,omitempty"`
	SubjectTypes          []string `json:"subject_types_supported"`
	IDTokenAlgs           []string `json:"id_token_signing_alg_values_supported,omitempty"`
	IDTokenKeyAlgs        []string `json:"id_token_encryption_alg_values_supported,omitempty"`
	IDTokenEncs           []string `json:"id_token_encryption_enc_values_supported,omitempty"`
	UserinfoAlgs          []string `json:"userinfo_signing_alg_values_supported,omitempty"`
	UserinfoKeyAlgs       []string `json:"userinfo_encryption_alg_values_supported,omitempty"`
	UserinfoEncs          []string `json:"userinfo_encryption_enc_values_supported,omitempty"`
	IntrospectionSigned   []string `json:"introspection_signing_alg_values_supported,omitempty"`
	AuthorizationSigned   []string `json:"authorization_signing_alg_values_supported,omitempty"`
	Claims                []string `json:"claims_supported,omitempty"`
	ClaimsParameter       bool     `json:"claims_parameter_supported,omitempty"`
	ACRs                  []string `json:"acr_values_supported,omitempty"`
	Prompts               []string `json:"prompt_values_supported,omitempty"`
	Languages             []string `json:"ui_locales_supported,omitempty"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported,omitempty"`
	TokenAuth             []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationAuth        []string `json:"revocation_endpoint_auth_methods_supported"`
	TokenAuthAlgs         []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAlgs     []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	RevocationAuthAlgs    []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IssInAnswer           bool     `json:"authorization_response_iss_parameter_supported,omitempty"`
	BackchannelLogout     bool     `json:"backchannel_logout_supported,omitempty"`
	BackchannelSession    bool     `json:"backchannel_logout_session_supported,omitempty"`
	FrontchannelLogout    bool     `json:"frontchannel_logout_supported,omitempty"`
	FrontchannelSession   bool     `json:"frontchannel_logout_session_supported,omitempty"`
	CheckSessionIframe    string   `json:"check_session_iframe,omitempty"`
	// A client may take a missing answer to this for yes.
	RequestURI        *bool    `json:"request_uri_parameter_supported,omitempty"`
	RequestObject     bool     `json:"request_parameter_supported,omitempty"`
	RequestObjectAlgs []string `json:"request_object_signing_alg_values_supported,omitempty"`
	RequireRequest    *bool    `json:"require_signed_request_object,omitempty"`
}

// metadataDocument is the document as it is served, for the algorithms that there are keys of.
type metadataDocument struct {
	algs, etag string
	body       []byte
}

// document makes the document. It depends on the configuration alone, never on a request's Host.
func (s *Server) document(signing []string) document {
	methods, algs := s.authMethods()
	d := document{
		Issuer:                s.issuer,
		TokenEndpoint:         s.issuer + "/oauth2/token",
		JWKSURI:               s.issuer + "/oauth2/jwks",
		IntrospectionEndpoint: s.issuer + "/oauth2/introspect",
		RevocationEndpoint:    s.issuer + "/oauth2/revoke",
		TokeninfoEndpoint:     s.issuer + "/oauth2/tokeninfo",
		GrantTypes:            []string{grantClientCredentials, grantPassword, grantJWTBearer},
		ResponseTypes:         []string{},
		SubjectTypes:          []string{"public"},
		TokenAuth:             methods,
		IntrospectionAuth:     methods,
		RevocationAuth:        methods,
		TokenAuthAlgs:         algs,
		IntrospectionAlgs:     algs,
		RevocationAuthAlgs:    algs,
		IntrospectionSigned:   signing,
	}
	if s.registration {
		d.RegistrationEndpoint = s.issuer + "/oauth2/register"
	}
	if s.people == nil {
		return d
	}
	no := false
	d.AuthorizationEndpoint, d.UserinfoEndpoint = s.issuer+"/oauth2/authorize", s.issuer+"/oauth2/userinfo"
	d.EndSessionEndpoint = s.issuer + "/oauth2/logout"
	d.FrontchannelLogout, d.FrontchannelSession, d.CheckSessionIframe = true, true, s.issuer+"/oauth2/session"
	d.BackchannelLogout = s.people.Outbound != nil
	d.BackchannelSession = d.BackchannelLogout
	d.DeviceEndpoint = s.issuer + "/oauth2/device_authorization"
	d.PAREndpoint, d.RequirePAR = s.issuer+"/oauth2/par", s.people.RequirePAR
	d.Scopes = commonScopes
	if s.people.More != nil {
		more, _ := s.people.More.Known()
		d.Scopes = slices.Clone(commonScopes)
		for _, scope := range more {
			if !slices.Contains(d.Scopes, scope) {
				d.Scopes = append(d.Scopes, scope)
			}
		}
	}
	d.GrantTypes = append(d.GrantTypes, grantAuthorizationCode, grantRefreshToken, grantDeviceCode, registry.GrantImplicit)
	d.Claims = []string{"iss", "sub", "aud", "azp", "iat", "exp", "auth_time", "nonce", "sid", "acr", "amr", "at_hash", "c_hash", "name", "preferred_username", "email", "email_verified", "phone_number", "phone_number_verified", "address"}
	if s.people.More != nil {
		_, more := s.people.More.Known()
		d.Claims = append(d.Claims, more...)
	}
	d.ResponseTypes, d.ResponseModes = responseTypes, responseModes()
	d.IDTokenAlgs, d.UserinfoAlgs, d.AuthorizationSigned = signing, signing, signing
	d.IDTokenKeyAlgs, d.IDTokenEncs = jose.KeyAlgs(), jose.ContentAlgs()
	d.UserinfoKeyAlgs, d.UserinfoEncs = d.IDTokenKeyAlgs, d.IDTokenEncs
	d.ClaimsParameter, d.SubjectTypes = true, []string{"public", registry.SubjectPairwise}
	d.ACRs = []string{classOne}
	if s.people.StepUp != nil {
		d.ACRs = append(d.ACRs, classTwo)
	}
	d.Prompts, d.Languages = prompts, s.people.Languages
	if s.people.RegisterAt == nil {
		d.Prompts = slices.DeleteFunc(slices.Clone(prompts), func(prompt string) bool { return prompt == promptCreate })
	}
	d.ChallengeMethods = []string{"S256"}
	d.TokenAuth = append(slices.Clone(methods), registry.AuthNone)
	d.RevocationAuth = d.TokenAuth
	d.IssInAnswer, d.RequestURI = true, &no
	d.RequestObject, d.RequestObjectAlgs, d.RequireRequest = true, publicKeyAlgs(), &no
	return d
}

// authMethods are the ways in which a client can prove to be itself, and the algorithms of those that sign.
func (s *Server) authMethods() (methods, algs []string) {
	methods = []string{registry.AuthClientSecretBasic, registry.AuthClientSecretPost, registry.AuthPrivateKeyJWT}
	algs = publicKeyAlgs()
	if s.secrets != nil {
		methods, algs = append(methods, registry.AuthClientSecretJWT), append(algs, string(jose.HS256))
	}
	return methods, algs
}

func publicKeyAlgs() (algs []string) {
	for _, alg := range jose.PublicKeyAlgs() {
		algs = append(algs, string(alg))
	}
	return algs
}

// described is the document for the keys that sign now.
func (s *Server) described() *metadataDocument {
	var signing []string
	for _, alg := range s.keys.Algs() {
		signing = append(signing, string(alg))
	}
	algs := strings.Join(signing, " ")
	if m := s.metadata.Load(); m != nil && m.algs == algs {
		return m
	}
	m := &metadataDocument{algs: algs}
	m.body, _ = json.Marshal(s.document(signing)) // a struct of texts always marshals
	sum := sha256.Sum256(m.body)
	m.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	s.metadata.Store(m)
	return m
}

const metadataMaxAge = "public, max-age=300"

// discovery serves the document. Clients may keep it for a few minutes.
func (s *Server) discovery(w http.ResponseWriter, r *http.Request) {
	m := s.described()
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = []string{metadataMaxAge}
	h["Etag"] = []string{m.etag}
	if match := r.Header.Get("If-None-Match"); match == "*" || strings.Contains(match, m.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Length"] = []string{strconv.Itoa(len(m.body))}
	w.Write(m.body) // the caller is gone if it fails, and nobody is left to tell
}

// health answers like the token validators of this family: OK once tokens can be checked, 503 before.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	text := "OK\n"
	if err := s.Ready(r.Context()); err != nil {
		text = "No keys available\n"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write([]byte(text + s.version + "\n")) // the caller is gone if it fails, and nobody is left to tell
}
