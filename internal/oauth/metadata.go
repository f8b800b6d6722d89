package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// document is what clients need to know to use this server (RFC 8414, OpenID Connect Discovery). It names what exists
// now, and nothing else: there is no authorization endpoint yet, so no response type is supported.
type document struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	TokeninfoEndpoint     string   `json:"tokeninfo_endpoint"`
	GrantTypes            []string `json:"grant_types_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	TokenAuth             []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationAuth        []string `json:"revocation_endpoint_auth_methods_supported"`
}

// metadata makes the document once: it depends on the configured issuer alone, never on a request's Host.
func metadata(issuer string) []byte {
	secrets := []string{"client_secret_basic", "client_secret_post"}
	b, err := json.Marshal(document{
		Issuer:                issuer,
		TokenEndpoint:         issuer + "/oauth2/token",
		JWKSURI:               issuer + "/oauth2/jwks",
		IntrospectionEndpoint: issuer + "/oauth2/introspect",
		RevocationEndpoint:    issuer + "/oauth2/revoke",
		TokeninfoEndpoint:     issuer + "/oauth2/tokeninfo",
		GrantTypes:            []string{grantClientCredentials, grantPassword},
		ResponseTypes:         []string{},
		SubjectTypes:          []string{"public"},
		TokenAuth:             secrets,
		IntrospectionAuth:     secrets,
		RevocationAuth:        secrets,
	})
	if err != nil {
		return nil // a struct of strings always marshals
	}
	return b
}

const metadataMaxAge = "public, max-age=300"

// discovery serves the document. Clients may keep it for a few minutes.
func (s *Server) discovery(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256(s.metadata)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = []string{metadataMaxAge}
	h["Etag"] = []string{etag}
	if match := r.Header.Get("If-None-Match"); match == "*" || strings.Contains(match, etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Length"] = []string{strconv.Itoa(len(s.metadata))}
	w.Write(s.metadata) // the caller is gone if it fails, and nobody is left to tell
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
