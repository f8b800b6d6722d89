package audit

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestTreeIsTlogs: at each size the tree stores and hashes what tlog does, so that any tool for tlog can read the log.
func TestTreeIsTlogs(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	var tr tree
	for n := range int64(300) {
		if int64(len(stored)) != tlog.StoredHashCount(n) {
			t.Fatalf("%d records store %d hashes, want %d", n, len(stored), tlog.StoredHashCount(n))
		}
		want, err := tlog.TreeHash(n, reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.root(); got != want {
			t.Fatalf("root of %d records is %s, want %s", n, got, want)
		}
		leaf := tlog.RecordHash(fmt.Append(nil, n))
		theirs, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		ours := tr.add(leaf)
		if fmt.Sprint(ours) != fmt.Sprint(theirs) {
			t.Fatalf("record %d stores %v, want %v", n, ours, theirs)
		}
		stored = append(stored, ours...)
	}
}

// TestRecordForm pins the form that leaves are made of: a change to it would turn every log into a damaged one.
func TestRecordForm(t *testing.T) {
	e := Stored{ID: "evt_1", Action: "a.b", Outcome: Success, Details: "{}"}
	if got, want := e.leaf().String(), "dUAflfS+CqSN7anefZu/Qd4nbweyvjjYjmdi0hqRKpE="; got != want {
		t.Errorf("leaf %s, want %s", got, want)
	}
	seen := map[tlog.Hash]string{}
	for name, change := range map[string]func(*Stored){
		"none": func(*Stored) {}, "id": func(e *Stored) { e.ID = "evt_2" }, "at": func(e *Stored) { e.At = e.At.Add(1000) },
		"action": func(e *Stored) { e.Action = "a.c" }, "outcome": func(e *Stored) { e.Outcome = Denied },
		"reason": func(e *Stored) { e.Reason = "x" }, "actor kind": func(e *Stored) { e.ActorKind = "x" },
		"actor id": func(e *Stored) { e.ActorID = "x" }, "actor name": func(e *Stored) { e.ActorName = "x" },
		"realm": func(e *Stored) { e.Realm = "x" }, "client": func(e *Stored) { e.ClientID = "x" }, "ip": func(e *Stored) { e.IP = "x" },
		"request": func(e *Stored) { e.RequestID = "x" }, "target type": func(e *Stored) { e.TargetType = "x" },
		"target id": func(e *Stored) { e.TargetID = "x" }, "details": func(e *Stored) { e.Details = `{"a":1}` },
	} {
		changed := e
		change(&changed)
		if other, ok := seen[changed.leaf()]; ok {
			t.Errorf("%s and %s have one leaf", name, other)
		}
		seen[changed.leaf()] = name
	}
}
