package cli

import (
	"context"

	"github.com/mintmark/mintmark/client"
)

// everyPage reads a list to its end, one request after another, each with its own time limit.
func everyPage[P, T any](ctx context.Context, s *Session, read func(context.Context, client.Page) (*P, error), open func(*P) ([]T, string)) ([]T, error) {
	all := []T{}
	page := client.Page{}
	for {
		p, err := onePage(ctx, s, read, page)
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

func onePage[P any](ctx context.Context, s *Session, read func(context.Context, client.Page) (*P, error), page client.Page) (*P, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return read(ctx, page)
}
