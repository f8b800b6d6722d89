package rotation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/lifecycle"
)

// Status tells how an application's credentials are: for the API, the pages and the command line. What each waits for is
// decided anew, so that it is never old.
func (s *Service) Status(ctx context.Context, tx db.ReadTx, c access.Caller, app string) (*api.Rotation, error) {
	active, err := s.allow(ctx, tx, c, access.ReadRotation, app)
	if err != nil {
		return nil, err
	}
	r := &api.Rotation{Application: app, Active: active, Problems: []string{}, Credentials: []api.RotatingCredential{}}
	for _, k := range s.kinds {
		cr, err := s.credentialStatus(ctx, tx, app, k)
		if err != nil {
			return nil, err
		}
		if cr == nil {
			continue
		}
		r.Credentials = append(r.Credentials, *cr)
		r.Problems = append(r.Problems, problems(*cr)...)
	}
	r.HasProblems = len(r.Problems) > 0
	return r, nil
}

func problems(c api.RotatingCredential) (all []string) {
	if c.Problem != "" {
		all = append(all, c.Kind+": "+c.Problem)
	}
	for _, d := range c.Deliveries {
		if d.Failures > 0 {
			all = append(all, fmt.Sprintf("%s: %s/%s does not take the new version (%d times in a row): %s", c.Kind, d.Store, d.Bucket, d.Failures, d.Error))
		}
	}
	for _, v := range c.Versions {
		if v.State == string(lifecycle.Active) && v.Reason == whyUnseen && v.LastUsed == nil && slices.ContainsFunc(c.Versions, func(old api.CredentialVersion) bool {
			return old.State == string(lifecycle.Retiring) && old.LastUsed != nil && old.LastUsed.After(*v.Active)
		}) {
			all = append(all, fmt.Sprintf("%s: an old version is in use and the new one is not. Check that the application reads its credentials again when they change, and from one of its destinations.", c.Kind))
		}
	}
	return all
}

func (s *Service) credentialStatus(ctx context.Context, tx db.ReadTx, app string, k Kind) (*api.RotatingCredential, error) {
	c, err := load(ctx, tx, app, k.Name())
	if err != nil || c == nil {
		return nil, err
	}
	o, err := s.observe(ctx, tx, app, k, true)
	if err != nil {
		return nil, err
	}
	policy := s.policies[k.Name()]
	p := decide(c, o, policy, tx.Now())
	a := &api.RotatingCredential{Kind: k.Name(), Object: k.Object(), State: string(p.do), Waiting: p.why, NextLook: when(p.look),
		Asked: when(c.asked.at), AskedBy: c.asked.by, AskedFor: c.asked.why,
		Problem: c.problem, Since: when(c.since), Failures: c.failures, Versions: []api.CredentialVersion{}, Deliveries: []api.Delivery{}}
	if !c.activated.IsZero() && !o.fixed {
		a.NextDue = when(dueAt(c, o, policy))
	}
	versions, err := loadVersions(ctx, tx, app, k.Name(), false)
	if err != nil {
		return nil, err
	}
	slices.Reverse(versions)
	for _, v := range versions {
		a.Versions = append(a.Versions, versionStatus(c, v, o, policy, tx.Now()))
	}
	for _, d := range c.deliveries {
		a.Deliveries = append(a.Deliveries, api.Delivery{Store: d.Store, Bucket: d.Bucket, Version: d.version, Delivered: when(d.at),
			Failures: d.failures, Since: when(d.since), Code: d.code, Error: d.err, NextTry: when(d.nextTry)})
	}
	return a, nil
}

func versionStatus(c *credential, v version, o observed, p lifecycle.Policy, now time.Time) api.CredentialVersion {
	a := api.CredentialVersion{Version: v.number, State: string(v.state), Reason: v.reason, Prepared: v.prepared, Active: when(v.activated),
		Retiring: when(v.retiring), Retired: when(v.retired), Forced: v.forced, LastUsed: when(o.used[v.number])}
	if v.state == lifecycle.Retiring {
		e := evidence(c, v, o)
		a.Waiting = lifecycle.MayRetire(e, p, now).Reason
		a.Until = when(lifecycle.Limit(e, p))
	}
	return a
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
