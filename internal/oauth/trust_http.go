package oauth

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	TrustPath struct {
		ID string `path:"id" maxLength:"63" example:"build-cluster"`
	}
	putTrustInput struct {
		TrustPath
		route.IfMatch
		Body api.PutTrustedIssuer
	}
	deleteTrustInput struct {
		TrustPath
		route.IfMatch
	}
	trustOutput struct {
		route.Version
		Body api.TrustedIssuer
	}
	trustsOutput struct{ Body api.TrustedIssuers }
)

// trustRoutes registers the endpoints of trusted issuers.
func (s *Server) trustRoutes(m *route.Mux) {
	op := func(method, path, id, summary string) route.Op {
		return route.Op{Method: method, Path: "/api/trusted-issuers" + path, ID: id, Summary: summary, Action: access.ManageTrust, Tags: []string{trustedIssuerTag}}
	}
	route.Read(m, op(http.MethodGet, "", "trusted_issuer.list", "List the issuers whose JWTs count as authorization"),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, _ *struct{}) (*trustsOutput, error) {
			list, err := s.TrustedIssuers(ctx, tx, c)
			return &trustsOutput{api.TrustedIssuers{Items: list}}, err
		})
	route.Read(m, op(http.MethodGet, "/{id}", "trusted_issuer.get", "Read a trusted issuer"),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *TrustPath) (*trustOutput, error) {
			r, revision, err := s.TrustedIssuer(ctx, tx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return &trustOutput{route.AtVersion(revision), r}, nil
		})
	route.Write(m, op(http.MethodPut, "/{id}", "trusted_issuer.put", "Trust an issuer, or replace all that is said of it"),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *putTrustInput) (*trustOutput, error) {
			r, revision, err := s.PutTrustedIssuer(ctx, tx, c, in.ID, in.Body, in.Check)
			if err != nil {
				return nil, err
			}
			return &trustOutput{route.AtVersion(revision), r}, nil
		})
	route.Write(m, op(http.MethodDelete, "/{id}", "trusted_issuer.delete", "Trust an issuer no more"),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *deleteTrustInput) (*struct{}, error) {
			return nil, s.DeleteTrustedIssuer(ctx, tx, c, in.ID, in.Check)
		})
}
