package cli

import (
	"context"

	"github.com/mintmark/mintmark/client"
)

// everyPage reads a list to its end, one request after another, each with its own time limit.
func everyPage[P, T any](ctx context.Context, read func(context.Context, client.Page) (*P, error), open func(*P) ([]T, string)) ([]T, error) {
	all := []T{}
	page := client.Page{}
	for {
		p, err := read(ctx, page)
		if err != nil {
			return nil, err
		}
		items, next := open(p)
		all = append(all, items...)
		// A cursor that does not move would lead around for ever.
		if next == "" || next == page.Cursor {
			return all, nil
		}
		page.Cursor = next
	}
}
