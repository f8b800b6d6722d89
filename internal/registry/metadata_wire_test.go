package registry

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Each field of Metadata is written and read again: one that the two copies forget would be lost without a word.
func TestNoFieldOfMetadataIsForgotten(t *testing.T) {
	var m Metadata
	v := reflect.ValueOf(&m).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			*f = v.Type().Field(i).Name
		case *bool:
			*f = true
		case *[]string:
			*f = []string{v.Type().Field(i).Name}
		case *time.Duration:
			*f = time.Duration(i+1) * time.Second
		default:
			t.Fatalf("%s is of a kind that this test does not fill", v.Type().Field(i).Name)
		}
	}
	if diff := cmp.Diff(m, metadataOf(m.wire())); diff != "" {
		t.Errorf("lost on the way (-want +got):\n%s", diff)
	}
}
