package s3api_test

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// document is as large as a user.json.
var document = `{"application_username":"` + strings.Repeat("u", 50) + `","application_password":"` + strings.Repeat("p", 60) + `"}`

func BenchmarkPut160(b *testing.B) {
	h := newHouse(b)
	for b.Loop() {
		r := h.request(h.root, "PUT", "/shop-bucket/sales-orders/user.json", document)
		w := httptest.NewRecorder()
		h.server.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
}

func BenchmarkGet160(b *testing.B) {
	h := newHouse(b)
	h.put("sales-orders/user.json", document)
	for b.Loop() {
		r := h.request(h.root, "GET", "/shop-bucket/sales-orders/user.json", "")
		w := httptest.NewRecorder()
		h.server.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.Len() != len(document) {
			b.Fatal(w.Code, w.Body)
		}
	}
}

func BenchmarkGet160OverTCP(b *testing.B) {
	h := newHouse(b)
	h.put("sales-orders/user.json", document)
	for b.Loop() {
		if a := h.do(h.root, "GET", "/shop-bucket/sales-orders/user.json", ""); a.status != 200 {
			b.Fatal(a.status)
		}
	}
}
