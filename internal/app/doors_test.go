package app_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
)

// knock is one bad request and the refusal that it must get.
type knock struct {
	name   string
	method string
	path   string
	body   string
	header map[string]string // besides the credential; Authorization replaces it, "" leaves it out
	status int
	code   string
}

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"
)

// put is a bad PUT of the management API with a body.
func put(name, path, body string, status int, code string) knock {
	return knock{name: name, method: "PUT", path: path, body: body, header: map[string]string{"Content-Type": asJSON}, status: status, code: code}
}

// look is a bad request without a body.
func look(name, method, path string, status int, code string) knock {
	return knock{name: name, method: method, path: path, status: status, code: code}
}

// managementKnocks try the doors of the management API as the administrator, who may do everything that makes sense.
func managementKnocks() []knock {
	const team = "/api/teams/intruder"
	with := func(k knock, header, value string) knock {
		k.header = maps.Clone(k.header)
		k.header[header] = value
		return k
	}
	lookWith := func(k knock, header, value string) knock { k.header = map[string]string{header: value}; return k }
	return []knock{
		put("unknown key", team, `{"name":"x","nmae":"y"}`, 400, "invalid_request"),
		put("key in other letters", team, `{"Name":"x"}`, 400, "invalid_request"),
		put("wrong type", team, `{"name":5}`, 400, "invalid_request"),
		put("list for an object", team, `[]`, 400, "invalid_request"),
		put("key given twice", team, `{"name":"a","name":"b"}`, 400, "bad_json"),
		put("two documents", team, `{"name":"a"}{"name":"b"}`, 400, "bad_json"),
		put("cut off", team, `{"name":"a"`, 400, "bad_json"),
		put("no body", team, ``, 400, "bad_json"),
		put("bad UTF-8", team, "{\"name\":\"\xff\xfe\"}", 400, "bad_json"),
		put("half a surrogate pair", team, `{"name":"\ud800"}`, 400, "bad_json"),
		put("NUL", team, `{"name":"a\u0000b"}`, 400, "bad_json"),
		put("too deep", team, `{"members":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`, 400, "bad_json"),
		put("missing key", team, `{}`, 400, "invalid_request"),
		put("empty name", team, `{"name":""}`, 400, "invalid_request"),
		put("body too large", team, `{"name":"`+strings.Repeat("x", 1<<20)+`"}`, 413, "body_too_large"),
		with(put("other content type", team, `{"name":"x"}`, 415, "unsupported_media_type"), "Content-Type", "text/plain"),
		with(put("form", team, `name=x`, 415, "unsupported_media_type"), "Content-Type", asForm),
		with(put("other charset", team, `{"name":"x"}`, 415, "unsupported_media_type"), "Content-Type", asJSON+"; charset=latin1"),
		with(put("compressed", team, `{"name":"x"}`, 415, "unsupported_media_type"), "Content-Encoding", "gzip"),
		with(put("old version", "/api/teams/shop", `{"name":"Other"}`, 412, "precondition_failed"), "If-Match", `"999"`),
		with(put("exists already", "/api/teams/shop", `{"name":"Other"}`, 412, "precondition_failed"), "If-None-Match", "*"),
		put("unknown team", "/api/applications/intruder", `{"team_id":"nobody","active":true,"name":"x"}`, 400, "team_not_found"),
		put("unknown realm of owners", "/api/resource-types/intruder", `{"name":"x","team_id":"shop","resource_owners":["martians"]}`, 400, "invalid_resource_owners"),
		put("unknown realm of a member", team, `{"name":"x","members":["martians/jane"]}`, 400, "unknown_realm"),
		put("unknown owner of a bucket", "/api/buckets/intruder", `{"team_id":"nobody"}`, 400, "team_not_found"),

		put("id in capitals", "/api/applications/A", `{"team_id":"shop","active":true,"name":"x"}`, 400, "application_id"),
		put("id that ends with a hyphen", "/api/applications/a-", `{"team_id":"shop","active":true,"name":"x"}`, 400, "application_id"),
		put("id too long", "/api/applications/"+strings.Repeat("a", 300), `{"team_id":"shop","active":true,"name":"x"}`, 400, "invalid_request"),
		put("id with an encoded slash", "/api/applications/a%2fb", `{"team_id":"shop","active":true,"name":"x"}`, 400, "bad_path"),
		put("id with an encoded backslash", "/api/applications/a%5Cb", `{"team_id":"shop","active":true,"name":"x"}`, 400, "bad_path"),
		put("id with NUL", "/api/applications/a%00b", `{"team_id":"shop","active":true,"name":"x"}`, 400, "bad_path"),
		put("id that climbs", "/api/applications/../teams/intruder", `{"name":"x"}`, 400, "bad_path"),
		put("id that climbs, encoded", "/api/applications/%2e%2e/teams/intruder", `{"name":"x"}`, 400, "bad_path"),
		put("empty segment", "/api//teams/intruder", `{"name":"x"}`, 400, "bad_path"),
		put("id of a scope", "/api/resource-types/sales_order/scopes/Read", `{"summary":"x","is_resource_owner_scope":false}`, 400, "scope_id"),
		put("id of a bucket", "/api/buckets/-x-", `{"team_id":"shop"}`, 400, "invalid_bucket_name"),

		look("unknown scope", "PUT", "/api/applications/sales-orders/scopes/sales_order.nope", 404, "scope_not_found"),
		look("scope without a type", "PUT", "/api/applications/sales-orders/scopes/nope", 404, "scope_not_found"),
		look("unknown store", "PUT", "/api/applications/sales-orders/destinations/nowhere/shop-mint", 400, "unknown_store"),
		look("bucket that is no name", "PUT", "/api/applications/sales-orders/destinations/local/X", 400, "invalid_bucket"),
		look("unknown application", "GET", "/api/applications/nobody", 404, "application_not_found"),
		look("rotation of an unknown application", "GET", "/api/applications/nobody/rotation", 404, "application_not_found"),
		look("unknown team", "GET", "/api/teams/nobody", 404, "team_not_found"),
		look("unknown path", "GET", "/api/nothing", 404, "no_such_path"),
		look("unknown path outside", "GET", "/nothing", 404, "no_such_path"),
		look("wrong method", "DELETE", "/api/teams/shop", 405, "method_not_allowed"),
		look("unknown method", "BREW", "/api/teams", 405, "method_not_allowed"),
		look("bad cursor", "GET", "/api/teams?cursor=nonsense", 400, "bad_cursor"),
		look("cursor of nothing", "GET", "/api/audit/events?cursor=bnVsbA", 400, "bad_cursor"),
		look("limit of nothing", "GET", "/api/teams?limit=0", 400, "invalid_request"),
		look("limit beyond measure", "GET", "/api/teams?limit=501", 400, "invalid_request"),
		look("limit that is no number", "GET", "/api/teams?limit=ten", 400, "invalid_request"),
		look("unknown parameter", "GET", "/api/teams?limti=5", 400, "invalid_request"),
		look("parameter given twice", "GET", "/api/teams?limit=5&limit=6", 400, "bad_query"),
		look("NUL in a parameter", "GET", "/api/applications?search=%00", 400, "bad_query"),
		{name: "unexpected body", method: "GET", path: "/api/teams", body: "x", status: 400, code: "unexpected_body"},

		lookWith(look("no credential", "GET", "/api/teams", 401, "unauthenticated"), "Authorization", ""),
		lookWith(look("unknown credential", "GET", "/api/teams", 401, "invalid_token"), "Authorization", "Bearer mmk_nonsense"),
		lookWith(look("other scheme", "GET", "/api/teams", 401, "invalid_token"), "Authorization", "Basic YWRtaW46YWRtaW4="),
		with(put("stranger with a bad body", team, `{`, 401, "unauthenticated"), "Authorization", ""),
	}
}

// protocolKnocks try the doors of the authorization server, which answers in the form of RFC 6749.
func protocolKnocks(c client.Credentials) []knock {
	const legacy, strict = "/oauth2/access_token", "/oauth2/token"
	post := func(name, path, kind, body string, status int, code string) knock {
		return knock{name: name, method: "POST", path: path, body: body, header: map[string]string{"Content-Type": kind, "Authorization": basic(c)}, status: status, code: code}
	}
	as := func(k knock, authorization string) knock { k.header["Authorization"] = authorization; return k }
	password := `{"grant_type":"password","username":"sales-orders","password":"` + c.Password + `"`
	form := "grant_type=client_credentials"
	wrong := c
	wrong.ClientSecret += "x"
	return []knock{
		post("unknown realm", legacy+"?realm=martians", asForm, password+`}`, 400, "realm_not_found"),
		post("realm of people", legacy+"?realm=employees", asForm, password+`}`, 400, "unauthorized_client"),
		post("no realm", legacy, asForm, password+`}`, 400, "missing_realm"),
		post("key given twice", legacy+"?realm=services", asForm, password+`,"password":"x"}`, 400, "invalid_request"),
		post("wrong type", legacy+"?realm=services", asForm, `{"grant_type":"password","username":5,"password":"x"}`, 400, "invalid_request"),
		post("cut off", legacy+"?realm=services", asForm, password, 400, "invalid_request"),
		post("bad UTF-8", legacy+"?realm=services", asForm, "{\"grant_type\":\"password\",\"username\":\"\xff\",\"password\":\"x\"}", 400, "invalid_request"),
		post("bad UTF-8 in a form", strict, asForm, form+"&scope=%ff", 400, "invalid_request"),
		post("bad escape in a form", strict, asForm, form+"&scope=%zz", 400, "invalid_request"),
		post("parameter given twice", strict, asForm, form+"&scope=uid&scope=uid", 400, "invalid_request"),
		post("too large", strict, asForm, form+"&scope="+strings.Repeat("x", 64<<10), 413, "invalid_request"),
		post("JSON at the strict door", strict, asJSON, password+`}`, 415, "invalid_request"),
		post("no grant", strict, asForm, "scope=uid", 400, "invalid_request"),
		post("unknown grant", strict, asForm, "grant_type=wishful", 400, "unsupported_grant_type"),
		post("unknown scope", strict, asForm, form+"&scope=sales_order.nope", 400, "invalid_scope"),
		post("scope not granted", strict, asForm, form+"&scope=sales_order.read", 400, "invalid_scope"),
		post("wrong password", legacy+"?realm=services", asForm, `{"grant_type":"password","username":"sales-orders","password":"x"}`, 400, "invalid_grant"),
		post("unknown user", legacy+"?realm=services", asForm, `{"grant_type":"password","username":"nobody","password":"x"}`, 400, "invalid_grant"),
		as(post("wrong secret", strict, asForm, form, 401, "invalid_client"), basic(wrong)),
		as(post("no client", strict, asForm, form, 401, "invalid_client"), ""),
		as(post("unknown client", strict, asForm, form, 401, "invalid_client"), basic(client.Credentials{ClientID: "cli_nobody", ClientSecret: "x"})),
		look("wrong method", "GET", strict, 405, "not_allowed"),
		look("tokeninfo of nothing", "GET", "/oauth2/tokeninfo", 400, "invalid_request"),
		look("tokeninfo of nonsense", "GET", "/oauth2/tokeninfo?access_token=nonsense", 401, "invalid_token"),
		as(post("introspection by nobody", "/oauth2/introspect", asForm, "token=x", 401, "invalid_client"), ""),
		as(post("revocation by nobody", "/oauth2/revoke", asForm, "token=x", 401, "invalid_client"), ""),
	}
}

func basic(c client.Credentials) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(c.ClientID, c.ClientSecret)
	return r.Header.Get("Authorization")
}

// storageKnocks try the doors of the object store as nobody.
func storageKnocks() []knock {
	object := "/shop-mint/sales-orders/user.json"
	signed := func(at time.Time) map[string]string {
		return map[string]string{
			"X-Amz-Date": at.UTC().Format("20060102T150405Z"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD",
			"Authorization": "AWS4-HMAC-SHA256 Credential=MMNOBODY/" + at.UTC().Format("20060102") +
				"/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + strings.Repeat("0", 64),
		}
	}
	now := clock.System.Now()
	return []knock{
		look("no signature", "GET", object, 403, "AccessDenied"),
		look("list by nobody", "GET", "/shop-mint?list-type=2", 403, "AccessDenied"),
		look("write by nobody", "PUT", object, 403, "AccessDenied"),
		{name: "unknown access key", method: "GET", path: object, header: signed(now), status: 403, code: "SignatureDoesNotMatch"},
		{name: "signature of yesterday", method: "GET", path: object, header: signed(now.Add(-24 * time.Hour)), status: 403, code: "RequestTimeTooSkewed"},
		{name: "signature of nonsense", method: "GET", path: object, header: map[string]string{"Authorization": "AWS4-HMAC-SHA256 nonsense"}, status: 400, code: "AuthorizationHeaderMalformed"},
	}
}

// TestBadInputAtEachDoor: each bad request gets its documented refusal and changes nothing; a good one still works.
func TestBadInputAtEachDoor(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		w.register(t, "sales-orders")
		w.bucket(t, "sales-orders", "shop-mint")
		bucket, _ := w.storage(t, "sales-orders", "shop-mint")
		c := bucket.delivered(t, client.Credentials{})
		w.active(t, "sales-orders", 1)
		before := kept(t, w)

		try := func(base, authorization string, k knock) {
			t.Run(k.name, func(t *testing.T) {
				a := w.knock(t, base, authorization, k)
				if a.status != k.status || a.code() != k.code && xmlCode(a) != k.code {
					t.Fatalf("%d %.300s, want %d %s", a.status, a.body, k.status, k.code)
				}
				checkRefusal(t, w, k, a)
			})
		}
		for _, k := range managementKnocks() {
			try(w.config.Issuer, "Bearer "+w.adminKey(t), k)
		}
		for _, k := range protocolKnocks(c) {
			try(w.config.Issuer, "", k)
		}
		for _, k := range storageKnocks() {
			try("http://"+w.config.Listen.S3, "", k)
		}

		if d := cmp.Diff(before, kept(t, w)); d != "" {
			t.Errorf("bad requests changed something (-before +after):\n%s", d)
		}
		if a := w.seedToken(t, "services", c); a.status != http.StatusOK {
			t.Errorf("after all that, a good login: %d %s", a.status, a.code())
		}
		must[*api.Team](t, "after all that, a good change")(w.admin.PutTeam(t.Context(), "intruder", api.PutTeam{Name: "Welcome"}))
	})
}

// knock sends the request byte for byte: the standard client would make its path nicer.
func (w *world) knock(t *testing.T, base, authorization string, k knock) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), k.method, base, strings.NewReader(k.body))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = "//" + req.URL.Host + k.path // sent as it stands
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for name, value := range k.header {
		req.Header.Set(name, value)
		if value == "" {
			req.Header.Del(name)
		}
	}
	return do(t, req)
}

// checkRefusal: a refusal of the management API is a problem document that a person can quote, and none repeats a secret.
func checkRefusal(t *testing.T, w *world, k knock, a answered) {
	t.Helper()
	if strings.HasPrefix(k.path, "/api") {
		doc := a.document(t)
		if a.header.Get("Content-Type") != "application/problem+json" || doc["status"] != float64(k.status) || doc["type"] != "urn:mintmark:problem:"+k.code || doc["request_id"] == "" || doc["detail"] == nil {
			t.Errorf("%s: %s", a.header.Get("Content-Type"), a.body)
		}
	}
	if a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" && !strings.Contains(k.path, "tokeninfo") {
		t.Error("401 without WWW-Authenticate")
	}
	if strings.Contains(string(a.body), w.adminKey(t)) {
		t.Error("the refusal repeats the credential")
	}
}

var errorCode = regexp.MustCompile(`<Code>([A-Za-z]+)</Code>`)

// xmlCode is the name of a refusal of the object store.
func xmlCode(a answered) string {
	if m := errorCode.FindSubmatch(a.body); m != nil {
		return string(m[1])
	}
	return ""
}

// kept is what the database holds of things that only a request could change.
func kept(t *testing.T, w *world) map[string][]string {
	t.Helper()
	all := dump(t, w.databaseURL())
	for name := range all {
		ours := !slices.ContainsFunc([]string{
			"audit_", "jobs", "changes", "tx_marks", "goose", "schema", // traces of looking and of time
			"service_passwords", "client_secrets", "rotation_watch", "access_keys", // when something was last used
		}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if !ours {
			delete(all, name)
		}
	}
	if len(all) < 15 {
		t.Fatalf("only %d tables are compared", len(all))
	}
	return all
}

// TestStreamsAreBounded: a body without a length is bounded too, and so are headers.
func TestStreamsAreBounded(t *testing.T) {
	w := start(t, db.SQLite, nil)
	t.Run("body without a length", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), "PUT", w.config.Issuer+"/api/teams/intruder", endless{})
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", asJSON)
		req.Header.Set("Authorization", "Bearer "+w.adminKey(t))
		if a := do(t, req); a.status != http.StatusRequestEntityTooLarge || a.code() != "body_too_large" {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("header without an end", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.config.Issuer+"/api/teams", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("x", 100<<10))
		if a := do(t, req); a.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("no HTTP at all", func(t *testing.T) {
		conn, err := net.Dial("tcp", w.config.Listen.Public)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "\x16\x03\x01 this is not HTTP\r\n\r\n")
		buf := make([]byte, 64)
		n, _ := conn.Read(buf)
		if !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 400") {
			t.Errorf("%q", buf[:n])
		}
	})
	if _, err := w.admin.Teams(t.Context(), client.Page{}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// endless is a body that goes on for as long as somebody reads.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}
