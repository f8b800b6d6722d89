package db

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// Notifications are a hint beside polling and nothing rests on them: they are sent after the commit and apart from it,
// because NOTIFY inside a transaction makes all commits of the server queue, and because some databases that speak the
// protocol do not have it. A node that hears one polls at once instead of within 250 ms.
const channel = "mintmark_changes"

// listen rings whenever another node has changed something, until ctx ends.
func (b *postgresBackend) listen(ctx context.Context, log *slog.Logger, ring chan<- struct{}) {
	wait := time.Second
	for ctx.Err() == nil {
		heard, err := b.listenOnce(ctx, ring)
		if heard {
			wait = time.Second
		}
		if ctx.Err() != nil {
			return
		}
		log.DebugContext(ctx, "not listening for changes; polling goes on", "err", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = min(2*wait, time.Minute)
	}
}

func (b *postgresBackend) listenOnce(ctx context.Context, ring chan<- struct{}) (listening bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, b.config.Copy())
	if err != nil {
		return false, err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ending) // it is given up either way
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return false, err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return true, err
		}
		if n.Payload == b.node {
			continue // this node knows already
		}
		select {
		case ring <- struct{}{}:
		default:
		}
	}
}

// notify tells the other nodes, once for all that this node has committed meanwhile. A failure is no loss but of time.
func (b *postgresBackend) notify(ctx context.Context, told <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
		}
		sending, cancel := context.WithTimeout(ctx, time.Second)
		_, _ = b.pools[loading].ExecContext(sending, "SELECT pg_notify($1, $2)", channel, b.node)
		cancel()
	}
}

func nodeName() string { return rand.Text() }
