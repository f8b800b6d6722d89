package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/mintmark/mintmark/api"
)

type appStatus struct{ appID }

func (appStatus) Help() string {
	return `For each credential: what it waits for, its versions with when they were last used, and what each bucket shows. Never a secret. Exit code 1: something is wrong with them.

Examples:

    mintmark app status sales-orders
    mintmark app status sales-orders -o json`
}

func (cmd *appStatus) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	r, err := c.Rotation(ctx, cmd.ID)
	if err != nil {
		return err
	}
	err = s.print(r, func(w io.Writer) {
		for i, credential := range r.Credentials {
			if i > 0 {
				fmt.Fprintln(w)
			}
			s.credential(w, credential)
		}
	})
	if err != nil {
		return err
	}
	if !r.Active {
		s.say("%s is not active: nothing of it is accepted", cmd.ID)
	}
	if !r.HasProblems {
		return nil
	}
	for _, p := range r.Problems {
		s.say("problem: %s", p)
	}
	return &explained{code: ExitFailure, err: fmt.Errorf("the credentials of %s have %s", cmd.ID, counted(len(r.Problems), "problem"))}
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func (s *Session) credential(w io.Writer, c api.RotatingCredential) {
	fmt.Fprintf(w, "%s (%s)\n", plain(c.Kind), plain(c.Object))
	fields(w, "  state", c.State, "  waiting", c.Waiting, "  next", s.atMaybe(c.NextDue), "  asked", s.atMaybe(c.Asked), "  problem", c.Problem)
	var rows [][]string
	for _, v := range c.Versions {
		state := v.State
		if v.Forced {
			state += " (forced)"
		}
		rows = append(rows, []string{"  " + strconv.FormatInt(v.Version, 10), state, s.atMaybe(v.Active), s.atMaybe(v.LastUsed), v.Waiting})
	}
	s.table(w, c.Object+" has no versions yet", []string{"  VERSION", "STATE", "ACTIVE SINCE", "LAST USED", "STILL ACCEPTED BECAUSE"}, rows)
	rows = nil
	for _, d := range c.Deliveries {
		shows := "nothing yet"
		if d.Version > 0 {
			shows = "version " + strconv.FormatInt(d.Version, 10)
		}
		trouble := d.Error
		if trouble != "" && d.NextTry != nil {
			trouble += "; next try " + s.at(*d.NextTry)
		}
		rows = append(rows, []string{"  " + d.Store + "/" + d.Bucket, shows, s.atMaybe(d.Delivered), trouble})
	}
	s.table(w, c.Object+" goes to no bucket", []string{"  BUCKET", "SHOWS", "DELIVERED", "TROUBLE"}, rows)
}
