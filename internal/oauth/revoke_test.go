package oauth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
)

var admin = bearer("administrator")

// manage calls the management API as an administrator.
func (w *world) manage(method, path string, body any, options ...with) reply {
	w.t.Helper()
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(b)
	}
	return w.send(method, path, text, append([]with{admin, jsonish}, options...)...)
}

func (w *world) revokes(body string, options ...with) reply {
	w.t.Helper()
	return w.send("POST", "/oauth2/revocations", body, append([]with{jsonish}, options...)...)
}

type object = map[string]any

func TestRevocationByClaims(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token, other := w.token(), w.send("POST", "/oauth2/token", "grant_type=client_credentials&scope=uid", auth("other-client-id", "other-client-secret")).text("access_token")
		expect := func(what string, r reply, status int, mine, others bool) {
			t.Helper()
			if r.status != status || w.valid(token) != mine || w.valid(other) != others {
				t.Errorf("%s: %d %s; valid: %v and %v", what, r.status, r.body, w.valid(token), w.valid(other))
			}
		}
		expect("a claim that no token has", w.revokes(`{"type":"CLAIM","data":{"claims":{"scope":"uid"}}}`, admin), 400, true, true)
		expect("another value", w.revokes(`{"type":"CLAIM","data":{"claims":{"sub":"nobody"}}}`, admin), 201, true, true)
		expect("a claim that the token lacks, beside one that it has", w.revokes(`{"type":"CLAIM","data":{"claims":{"sub":"my-username","azp":"my-client-id"}}}`, admin), 201, true, true)
		expect("of tokens issued before", w.revokes(fmt.Sprintf(`{"type":"CLAIM","data":{"claims":{"sub":"my-username"},"issued_before":%d}}`, w.clock.Now().Unix()), admin), 201, true, true)
		expect("too far ahead", w.revokes(fmt.Sprintf(`{"type":"CLAIM","data":{"claims":{"sub":"my-username"},"issued_before":%d}}`, w.clock.Now().Unix()+6), admin), 400, true, true)
		expect("too long ago", w.revokes(fmt.Sprintf(`{"type":"CLAIM","data":{"claims":{"sub":"my-username"},"issued_before":%d}}`, w.clock.Now().Unix()-31*86400-1), admin), 400, true, true)
		// Issued in this very second, before the revocation: dead.
		expect("this second", w.revokes(`{"type":"CLAIM","data":{"claims":{"uid":"my-username","realm":"/services"}}}`, admin), 201, false, true)
		// And what is issued after it, in the same second, is good.
		if token = w.token(); !w.valid(token) {
			t.Error("a token that was issued after the revocation is revoked")
		}
		w.clock.Advance(time.Minute)
		expect("the same again", w.revokes(`{"type":"CLAIM","data":{"claims":{"sub":"my-username","client_id":"my-client-id"}}}`, admin), 201, false, true)
		expect("everything by this door", w.revokes(`{"type":"GLOBAL","data":{}}`, admin), 403, false, true)
		// What a node that starts reads.
		second, _ := w.neighbour(w.url, w.keyring)
		if err := second.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for tok, want := range map[string]bool{token: false, other: true} {
			if _, err := second.Verifier().Verify(t.Context(), tok, oauth.VerifyOptions{}); (err == nil) != want {
				t.Errorf("a node that starts: %v, want %v", err, want)
			}
		}
	})
}

func TestWhoMayRevoke(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		mine := w.token()
		client := w.send("POST", "/oauth2/token", "grant_type=client_credentials&scope=uid", auth("other-client-id", "other-client-secret")).text("access_token")
		claim := `{"type":"CLAIM","data":{"claims":{"sub":"my-username","realm":"services"}}}`
		byToken := `{"type":"TOKEN","data":{"token":"` + mine + `"}}`
		for name, r := range map[string]reply{
			"nobody":            w.revokes(claim),
			"a wrong token":     w.revokes(claim, bearer(mine+"x")),
			"two headers":       w.revokes(claim, bearer(client), func(r *http.Request) { r.Header.Add("Authorization", "Bearer x") }),
			"the client itself": w.revokes(claim, auth("my-client-id", "my-client-secret")),
		} {
			if r.status != 401 || r.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		for name, r := range map[string]reply{"a caller without a rule": w.revokes(claim, bearer(client)), "another's token": w.revokes(byToken, bearer(client)), "its own claims": w.revokes(claim, bearer(mine))} {
			if r.status != 403 {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		for _, wrong := range []object{
			{"required_user_claims": object{}, "allowed_revocation_claims": object{"sub": "x"}},
			{"required_user_claims": object{"sub": "x"}, "allowed_revocation_claims": object{}},
			{"required_user_claims": object{"scope": "x"}, "allowed_revocation_claims": object{"sub": "x"}},
		} {
			if r := w.manage("POST", "/api/revocation-rules", wrong); r.status != 400 {
				t.Errorf("%v: %d %s", wrong, r.status, r.body)
			}
		}
		rule := object{"required_user_claims": object{"client_id": "other-client-id", "realm": "/services"}, "allowed_revocation_claims": object{"realm": "services"}}
		if r := w.manage("POST", "/api/revocation-rules", rule, bearer(client)); r.status != 401 && r.status != 403 {
			t.Errorf("a client makes its own rule: %d", r.status)
		}
		made := w.manage("POST", "/api/revocation-rules", rule)
		if made.status != 201 || len(w.manage("GET", "/api/revocation-rules", nil).json["items"].([]any)) != 1 {
			t.Fatalf("%d %s", made.status, made.body)
		}
		if r := w.revokes(`{"type":"CLAIM","data":{"claims":{"sub":"my-username"}}}`, bearer(client)); r.status != 403 || !w.valid(mine) {
			t.Errorf("wider than the rule: %d", r.status)
		}
		if r := w.revokes(claim, bearer(mine)); r.status != 403 {
			t.Errorf("not the caller of the rule: %d", r.status)
		}
		if r := w.revokes(byToken, bearer(client)); r.status != 201 || w.valid(mine) {
			t.Errorf("a token that the rule allows: %d %s", r.status, r.body)
		}
		mine = w.token()
		if r := w.revokes(claim, bearer(client)); r.status != 201 || w.valid(mine) {
			t.Errorf("claims that the rule allows: %d %s", r.status, r.body)
		}
		// Whoever holds a token may end it.
		mine = w.token()
		if r := w.revokes(`{"type":"TOKEN","data":{"token":"`+mine+`"}}`, bearer(mine)); r.status != 201 || w.valid(mine) {
			t.Errorf("its own token: %d %s", r.status, r.body)
		}
		if r := w.revokes(`{"type":"TOKEN","data":{"token":"unknown"}}`, bearer(w.token())); r.status != 201 {
			t.Errorf("what is no token: %d %s", r.status, r.body)
		}
		w.clock.Advance(2 * time.Second)
		if r := w.manage("DELETE", "/api/revocation-rules/"+made.text("id"), nil); r.status != 204 {
			t.Errorf("delete: %d %s", r.status, r.body)
		}
		client = w.send("POST", "/oauth2/token", "grant_type=client_credentials&scope=uid", auth("other-client-id", "other-client-secret")).text("access_token")
		if r := w.revokes(claim, bearer(client)); r.status != 403 {
			t.Errorf("without the rule: %d %s", r.status, r.body)
		}
		if n := count(t, w.db, `SELECT COUNT(*) FROM audit_events WHERE action = 'token.revoke' AND outcome = 'denied'`); n != 6 {
			t.Errorf("%d denials are recorded, want 6", n)
		}
	})
}

func TestRevocationBodies(t *testing.T) {
	w := one(t)
	for _, body := range []string{
		``, `x`, `{}`, `[]`, `{"type":"TOKEN"}`, `{"type":"token","data":{"token":"x"}}`, `{"type":"CLAIM","data":{}}`, `{"type":"CLAIM","data":{"claims":{}}}`,
		`{"type":"CLAIM","data":{"claims":{"sub":1}}}`, `{"type":"CLAIM","data":{"claims":{"sub":""}}}`, `{"type":"CLAIM","data":{"claims":{"sub":"a","sub":"b"}}}`,
		`{"type":"CLAIM","data":{"claims":{"sub":"a","uid":"b"}}}`, `{"type":"CLAIM","data":{"claims":{"sub":"a"},"token":"x"}}`, `{"type":"CLAIM","data":{"claims":{"sub":"a\u001fb"}}}`,
		`{"type":"CLAIM","data":{"claims":{"sub":"` + strings.Repeat("x", 300) + `"}}}`, `{"type":"CLAIM","data":{"claims":{"realm":"nowhere"}}}`,
		`{"type":"CLAIM","data":{"claims":{"sub":"a"},"issued_before":"1"}}`, `{"type":"CLAIM","data":{"claims":{"sub":"a"}},"more":1}`, strings.Repeat("x", 70_000),
	} {
		if r := w.revokes(body, admin); r.status != 400 {
			t.Errorf("%.60s: %d %s", body, r.status, r.body)
		}
	}
	if r := w.send("PUT", "/oauth2/revocations", ""); r.status != 405 {
		t.Errorf("PUT: %d", r.status)
	}
}

// The other node hears of each kind without asking the database.
func TestRevocationsReachOtherNodes(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newWorld(t, engine)
			running, d := w.neighbour(w.url, w.keyring)
			stop, err := d.StartFeed(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			if err := running.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, body := range []object{
				{"kind": "token", "reason": "test"},
				{"kind": "claims", "claims": object{"sub": "my-username"}, "reason": "test"},
				{"kind": "client", "id": "my-client-id", "reason": "test"},
				{"kind": "user", "id": "my-username", "realm": "services", "reason": "test"},
				{"kind": "realm", "id": "/services", "reason": "test"},
				{"kind": "everything", "reason": "test"},
			} {
				w.clock.Advance(2 * time.Second)
				token := w.token()
				if body["kind"] == "token" {
					body["token"] = token
				}
				valid := func() bool {
					_, err := running.Verifier().Verify(t.Context(), token, oauth.VerifyOptions{})
					return err == nil
				}
				if !valid() || !w.valid(token) {
					t.Fatal("a new token is not valid")
				}
				if r := w.manage("POST", "/api/revocations", body); r.status != 201 || w.valid(token) {
					t.Fatalf("%v: %d %s", body, r.status, r.body)
				}
				soon(t, fmt.Sprint("the other node never heard of ", body), func() bool { return !valid() })
			}
			items := w.manage("GET", "/api/revocations?limit=2", nil)
			if list := items.json["items"].([]any); len(list) != 2 || list[0].(object)["kind"] != "everything" || items.text("next_cursor") == "" {
				t.Errorf("%s", items.body)
			}
			if n := count(t, w.db, `SELECT COUNT(*) FROM audit_events WHERE action = 'token.revoke' AND outcome = 'success' AND actor_id = 'usr_admin'`); n != 6 {
				t.Errorf("%d audit events, want 6", n)
			}
		})
	}
}

func TestRevocationsOfAdministrators(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token := w.token()
		for _, body := range []object{
			{"kind": "client", "id": "unknown", "reason": "x"}, {"kind": "client", "reason": "x"}, {"kind": "realm", "id": "nowhere", "reason": "x"},
			{"kind": "user", "id": "usr_unknown", "reason": "x"}, {"kind": "everything"}, {"kind": "everything", "reason": " "}, {"kind": "all", "reason": "x"},
			{"kind": "token", "token": "x", "reason": "x"}, {"kind": "grant", "id": "grt_x", "reason": "x"}, {"kind": "claims", "reason": "x"},
			{"kind": "everything", "reason": "x", "issued_before": "2036-01-01T00:00:00Z"},
		} {
			if r := w.manage("POST", "/api/revocations", body); r.status != 400 && r.status != 404 {
				t.Errorf("%v: %d %s", body, r.status, r.body)
			}
		}
		if r := w.manage("POST", "/api/revocations", object{"kind": "everything", "reason": "x"}, bearer(token)); r.status != 401 && r.status != 403 {
			t.Errorf("not an administrator: %d", r.status)
		}
		if r := w.manage("POST", "/api/revocations", object{"kind": "everything", "reason": "x", "issued_before": w.clock.Now().Add(-time.Hour)}); r.status != 201 {
			t.Errorf("of an hour ago: %d %s", r.status, r.body)
		}
		if !w.valid(token) {
			t.Error("revoked by one of those")
		}
	})
}

// A client that takes back tokens without end is bounded, and each of them is dead all the same.
func TestOneClientDoesNotFillTheMemory(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newWorld(t, engine, func(_ *world, o *oauth.Options) { o.TokensOfClient = 3 })
			other := w.send("POST", "/oauth2/token", "grant_type=client_credentials&scope=uid", auth("other-client-id", "other-client-secret")).text("access_token")
			var list []string
			for range 9 {
				list = append(list, w.token())
			}
			for _, token := range list {
				if r := w.send("POST", "/oauth2/revoke", "token="+token, us); r.status != 200 || w.valid(token) {
					t.Fatalf("%d %s", r.status, r.body)
				}
			}
			if !w.valid(other) {
				t.Error("another client's token is revoked")
			}
			w.clock.Advance(2 * time.Second)
			for range 3 {
				token := w.token()
				if !w.valid(token) {
					t.Fatal("a new token is not valid")
				}
				w.send("POST", "/oauth2/revoke", "token="+token, us)
				if w.valid(token) {
					t.Error("a revoked token is valid")
				}
				w.clock.Advance(2 * time.Second)
			}
			if tokens, many := count(t, w.db, `SELECT COUNT(*) FROM revoked_tokens`), count(t, w.db, `SELECT COUNT(*) FROM revocations`); tokens != 3 || many != 1 {
				t.Errorf("%d tokens and %d revocations of many are stored", tokens, many)
			}
			second, _ := w.neighbour(w.url, w.keyring)
			if err := second.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i, token := range list {
				if _, err := second.Verifier().Verify(t.Context(), token, oauth.VerifyOptions{}); err == nil {
					t.Errorf("token %d lives on a node that starts", i)
				}
			}
		})
	}
}

func TestOneCallerDoesNotFillTheMemory(t *testing.T) {
	w := one(t)
	if r := w.manage("POST", "/api/revocation-rules", object{"required_user_claims": object{"sub": "my-username"}, "allowed_revocation_claims": object{"realm": "services"}}); r.status != 201 {
		t.Fatal(r.body)
	}
	token := w.token()
	revoke := func(sub string) reply {
		return w.revokes(`{"type":"CLAIM","data":{"claims":{"sub":"`+sub+`","realm":"services"}}}`, bearer(token))
	}
	if err := w.db.Write(t.Context(), func(tx db.WriteTx) error {
		for i := range 999 {
			if _, err := tx.Exec(t.Context(), `INSERT INTO revocations (id, kind, names, claim_values, issued_before, revoked, revoked_by, caller, reason, expires)
				VALUES ($1, 'claims', 'sub', $1, 1, 1, '', 'my-client-id my-username', '', $2)`, "rvk_"+strconv.Itoa(i), db.Micros(w.clock.Now().Add(time.Hour))); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if a, b := revoke("x"), revoke("y"); a.status != 201 || b.status != 429 {
		t.Errorf("%d, %d %s", a.status, b.status, b.body)
	}
	if r := w.revokes(`{"type":"CLAIM","data":{"claims":{"sub":"y"}}}`, admin); r.status != 201 {
		t.Errorf("an administrator: %d", r.status)
	}
}

// TestRevocationFeed reads the feed as services that check tokens by themselves do.
func TestRevocationFeed(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newWorld(t, engine, func(_ *world, o *oauth.Options) { o.RevocationSalt, o.SlashRealms = redact.New("pepper"), true })
			hash := func(s string) string {
				sum := sha256.Sum256([]byte("pepper" + s))
				return base64.URLEncoding.EncodeToString(sum[:])
			}
			start := w.clock.Now().Unix()
			feed := func(from int64) (list []object, meta object) {
				t.Helper()
				r := w.send("GET", "/revocations?from="+strconv.FormatInt(from, 10), "")
				if r.status != 200 {
					t.Fatalf("%d %s", r.status, r.body)
				}
				for _, item := range r.json["revocations"].([]any) {
					list = append(list, item.(object))
				}
				return list, r.json["meta"].(object)
			}
			for _, query := range []string{"", "?from=", "?from=x", "?from=NaN", "?from=1", "?from=" + strconv.FormatInt(start-31*86400-1, 10), fmt.Sprintf("?from=%d&from=%d", start, start)} {
				if r := w.send("GET", "/oauth2/revocations"+query, ""); r.status != 400 {
					t.Errorf("%q: %d", query, r.status)
				}
			}
			if list, meta := feed(start - 1); len(list) != 0 || meta["MAX_TIME_DELTA"] != 2678400.0 || meta["REFRESH_FROM"] != nil {
				t.Errorf("at first: %v %v", list, meta)
			}
			token := w.token()
			w.send("POST", "/oauth2/revoke", "token="+token, us)
			w.clock.Advance(time.Second)
			w.manage("POST", "/api/revocations", object{"kind": "user", "id": "my-username", "realm": "services", "reason": "x"})
			w.clock.Advance(time.Second)
			w.manage("POST", "/api/revocations", object{"kind": "everything", "reason": "x"})
			list, _ := feed(start - 1)
			if len(list) != 3 {
				t.Fatalf("%v", list)
			}
			for i, want := range []object{
				{"type": "TOKEN", "revoked_at": float64(start)}, {"type": "CLAIM", "revoked_at": float64(start + 1)}, {"type": "GLOBAL", "revoked_at": float64(start + 2)},
			} {
				if list[i]["type"] != want["type"] || list[i]["revoked_at"] != want["revoked_at"] {
					t.Errorf("%d: %v", i, list[i])
				}
			}
			data := func(i int) object { return list[i]["data"].(object) }
			if d := data(0); d["token_hash"] != hash(token) || d["hash_algorithm"] != "SHA-256" || d["issued_before"].(float64) <= float64(start) {
				t.Errorf("%v", d)
			}
			if d := data(1); fmt.Sprint(d["names"]) != "[realm sub]" || d["value_hash"] != hash("/services|my-username") || d["separator"] != "|" || d["issued_before"] != float64(start+2) {
				t.Errorf("%v", d)
			}
			if d := data(2); d["issued_before"] != float64(start+3) {
				t.Errorf("%v", d)
			}
			if list, _ := feed(start + 1); len(list) != 1 || list[0]["type"] != "GLOBAL" {
				t.Errorf("strictly after: %v", list)
			}
			if r := w.send("POST", "/notifications/REFRESH_FROM?value="+strconv.FormatInt(start, 10), ""); r.status != 401 {
				t.Errorf("refresh by anybody: %d", r.status)
			}
			if r := w.send("POST", "/notifications/REFRESH_FROM?value="+strconv.FormatInt(start, 10), "", admin); r.status != 201 {
				t.Errorf("refresh: %d %s", r.status, r.body)
			}
			if _, meta := feed(start); meta["REFRESH_FROM"] != float64(start) || meta["REFRESH_TIMESTAMP"] != float64(start+2) {
				t.Errorf("%v", meta)
			}
			if r := w.manage("POST", "/api/revocations/refresh", object{"from": w.clock.Now()}); r.status != 204 {
				t.Errorf("refresh: %d %s", r.status, r.body)
			}
			// Old rows go.
			w.clock.Advance(33 * 24 * time.Hour)
			if err := w.server.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := count(t, w.db, `SELECT COUNT(*) FROM revocations`) + count(t, w.db, `SELECT COUNT(*) FROM revoked_tokens`); n != 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}
