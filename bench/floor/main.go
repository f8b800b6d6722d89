// Command floor is the cheapest server on plain net/http that still does the real work of issuing and checking a token:
// read the form, compare the client's secret, sign with ES256, check the signature, write the answer. It has no
// configuration, audit, limits, metrics or log.
//
// It is what is possible on the machine at hand, and so what mintmark's figures are divided by: a ratio of two programs
// that ran in turn says more than the seconds of one. It is no design to deploy.
//
// It keeps refresh tokens in a new SQLite file and in an empty PostgreSQL database, if it is told of them, and makes each
// exchange of one for the next durable, together with all that wait (refresh.go).
//
//	floor 127.0.0.1:PORT [sqlite FILE] [postgres URL]
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
)

var b64 = base64.RawURLEncoding

// The one client and the one user. Secrets of 256 random bits need no slow hash, so one SHA-256 stands for it.
var (
	clientID   = "client-1"
	secretHash = sha256.Sum256([]byte("secret-1"))
)

type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	ClientID string   `json:"client_id"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"jti"`
	Realm    string   `json:"realm"`
	Scope    []string `json:"scope"`
}

type floor struct {
	key    *ecdsa.PrivateKey
	header string
	known  sync.Map // SHA-256 of a token that was checked → *claims
}

func (f *floor) issue(subject string, scope []string) (string, error) {
	var id [16]byte
	rand.Read(id[:])
	now := time.Now().Unix()
	payload, err := json.Marshal(claims{"http://127.0.0.1", subject, "http://127.0.0.1", clientID, now, now + 28800, b64.EncodeToString(id[:]), "services", scope})
	if err != nil {
		return "", err
	}
	token := b64.AppendEncode(append(make([]byte, 0, 1024), f.header...), payload)
	sum := sha256.Sum256(token)
	r, s, err := ecdsa.Sign(rand.Reader, f.key, sum[:])
	if err != nil {
		return "", err
	}
	var sig [64]byte
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return string(b64.AppendEncode(append(token, '.'), sig[:])), nil
}

var errToken = errors.New("bad token")

func (f *floor) check(token string) (*claims, error) {
	first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	if first < 0 || first == last {
		return nil, errToken
	}
	header, err := b64.DecodeString(token[:first])
	var h struct{ Alg, Kid, Typ string }
	if err != nil || json.Unmarshal(header, &h) != nil || h.Alg != "ES256" {
		return nil, errToken
	}
	sig, err := b64.DecodeString(token[last+1:])
	if err != nil || len(sig) != 64 {
		return nil, errToken
	}
	sum := sha256.Sum256([]byte(token[:last]))
	if !ecdsa.Verify(&f.key.PublicKey, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, errToken
	}
	payload, err := b64.DecodeString(token[first+1 : last])
	var c claims
	if err != nil || json.Unmarshal(payload, &c) != nil || c.Expires < time.Now().Unix() {
		return nil, errToken
	}
	return &c, nil
}

// remember is check for a token that was checked before: one hash and one look into a map.
func (f *floor) remember(token string) (*claims, error) {
	sum := sha256.Sum256([]byte(token))
	if c, ok := f.known.Load(sum); ok {
		return c.(*claims), nil
	}
	c, err := f.check(token)
	if err == nil {
		f.known.Store(sum, c)
	}
	return c, err
}

func authenticated(r *http.Request) bool {
	id, secret, ok := r.BasicAuth()
	sum := sha256.Sum256([]byte(secret))
	return ok && id == clientID && subtle.ConstantTimeCompare(sum[:], secretHash[:]) == 1
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status = http.StatusInternalServerError
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

func refuse(w http.ResponseWriter) {
	answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid"})
}

func (f *floor) token(w http.ResponseWriter, r *http.Request) {
	if !authenticated(r) || r.ParseForm() != nil {
		refuse(w)
		return
	}
	if r.PostForm.Get("grant_type") == "password" {
		sum := sha256.Sum256([]byte(r.PostForm.Get("password")))
		if subtle.ConstantTimeCompare(sum[:], secretHash[:]) != 1 {
			refuse(w)
			return
		}
	}
	scope := r.PostForm.Get("scope")
	token, err := f.issue(clientID, strings.Fields(scope))
	if err != nil {
		refuse(w)
		return
	}
	answer(w, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string `json:"scope"`
	}{token, "Bearer", 28800, scope})
}

func (f *floor) introspect(check func(string) (*claims, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !authenticated(r) || r.ParseForm() != nil {
			refuse(w)
			return
		}
		c, err := check(r.PostForm.Get("token"))
		answer(w, http.StatusOK, struct {
			Active bool `json:"active"`
			*claims
		}{err == nil, c})
	}
}

func (f *floor) tokeninfo(check func(string) (*claims, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		c, err := check(token)
		if err != nil {
			refuse(w)
			return
		}
		answer(w, http.StatusOK, c)
	}
}

// hashes is one place for each processor: more at once would only take memory.
var hashes = make(chan struct{}, runtime.GOMAXPROCS(0))

// login computes the slow hash of a password, as RFC 9106 and OWASP have it at the least, and says that it was right.
func (f *floor) login(w http.ResponseWriter, r *http.Request) {
	if r.ParseForm() != nil {
		refuse(w)
		return
	}
	hashes <- struct{}{}
	sum := argon2.IDKey([]byte(r.PostForm.Get("password")), secretHash[:16], 2, 19*1024, 1, 32)
	<-hashes
	answer(w, http.StatusOK, map[string]bool{"ok": len(sum) == 32})
}

func main() {
	if len(os.Args)%2 != 0 || !strings.HasPrefix(os.Args[1], "127.0.0.1:") {
		fmt.Fprintln(os.Stderr, "usage: floor 127.0.0.1:PORT [sqlite FILE] [postgres URL]")
		os.Exit(2)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
	f := &floor{key: key, header: b64.EncodeToString([]byte(`{"alg":"ES256","kid":"floor","typ":"at+jwt"}`)) + "."}
	m := http.NewServeMux()
	m.HandleFunc("POST /token", f.token)
	m.HandleFunc("POST /login", f.login)
	m.HandleFunc("POST /introspect", f.introspect(f.check))
	m.HandleFunc("POST /introspect-known", f.introspect(f.remember))
	m.HandleFunc("GET /tokeninfo", f.tokeninfo(f.check))
	m.HandleFunc("GET /tokeninfo-known", f.tokeninfo(f.remember))
	stores := map[string]func(string) (chan<- *turn, error){"sqlite": onSQLite, "postgres": onPostgres}
	for i := 2; i+1 < len(os.Args); i += 2 {
		open, known := stores[os.Args[i]]
		if !known {
			fmt.Fprintln(os.Stderr, "floor: no store", os.Args[i])
			os.Exit(2)
		}
		store, err := open(os.Args[i+1])
		if err != nil {
			fmt.Fprintln(os.Stderr, "floor:", err)
			os.Exit(1)
		}
		m.HandleFunc("POST /refresh-"+os.Args[i], f.refresh(store))
	}
	m.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	fmt.Fprintln(os.Stderr, "floor:", http.ListenAndServe(os.Args[1], m))
	os.Exit(1)
}
