package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/fault"
)

func TestUnknownErrorsSayNothing(t *testing.T) {
	e := fault.Of(errors.New("pq: password=hunter2"))
	if e.Kind != fault.Internal || e.Code != "internal" || strings.Contains(e.Detail, "hunter2") {
		t.Fatalf("%+v", e)
	}
}

func TestKindSurvivesWrapping(t *testing.T) {
	cause := errors.New("no rows")
	err := fmt.Errorf("get application: %w", fault.Wrap(cause, fault.NotFound, "application_not_found", "No application %q.", "x"))
	if !fault.Is(err, fault.NotFound) || fault.Code(err) != "application_not_found" || !errors.Is(err, cause) {
		t.Fatalf("%v", err)
	}
	if fault.Is(nil, fault.Internal) || fault.Code(nil) != "" {
		t.Fatal("nil has a kind")
	}
}
