package seal_test

import (
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// BenchmarkVerifyMAC is what a client's authentication costs here.
func BenchmarkVerifyMAC(b *testing.B) {
	k := sealtest.New(b, dbtest.Open(b, db.SQLite, clock.System))
	secret := seal.NewSecret("mcs_")
	mac := k.MAC("client-secret", secret)
	b.ReportAllocs()
	for b.Loop() {
		if !k.VerifyMAC("client-secret", secret, mac) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := sealtest.New(b, dbtest.Open(b, db.SQLite, clock.System))
	place := seal.AD{Table: "keys", Column: "private", Row: "kid", Version: 1}
	box, err := k.Seal(seal.Sign, place, make([]byte, 128))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(seal.Sign, place, box); err != nil {
			b.Fatal(err)
		}
	}
}
