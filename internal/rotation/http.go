package rotation

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/route"
)

type applicationInput struct {
	ID string `path:"id" maxLength:"100" doc:"The application."`
}

type destinationInput struct {
	ID     string `path:"id" maxLength:"100" doc:"The application."`
	Store  string `path:"store" maxLength:"63" doc:"The name of a configured store; local is the embedded one."`
	Bucket string `path:"bucket" maxLength:"63" doc:"3 to 63 lower-case letters, digits, dots and hyphens."`
}

type rotationInput struct {
	ID   string `path:"id" maxLength:"100" doc:"The application."`
	Body api.AskRotation
}

type destinationOutput struct {
	Status int
	Body   api.Destination
}

type destinationsOutput struct{ Body api.Destinations }

type statusOutput struct{ Body *api.Rotation }

// Routes serves the endpoints of destinations and rotations.
func (s *Service) Routes(m *route.Mux) {
	tags := []string{"Rotation"}
	route.Write(m, route.Op{Method: http.MethodPut, Path: "/api/applications/{id}/destinations/{store}/{bucket}", ID: "destination.put",
		Summary: "Add a destination", Action: access.WriteApplication, Tags: tags,
		Description: "The application's credentials are written to the bucket from now on, as <id>/user.json and <id>/client.json. A new version of each is made at once, because versions in use are not kept in clear. 201: added; 200: it was there."},
		s.putDestination)
	route.Write(m, route.Op{Method: http.MethodDelete, Path: "/api/applications/{id}/destinations/{store}/{bucket}", ID: "destination.delete",
		Summary: "Remove a destination", Action: access.WriteApplication, Tags: tags, Status: http.StatusNoContent,
		Description: "What lies in the bucket stays there and is not renewed: it stops working with the next rotations."},
		s.deleteDestination)
	route.Read(m, route.Op{Method: http.MethodGet, Path: "/api/applications/{id}/destinations", ID: "destination.list",
		Summary: "List destinations", Action: access.ReadRotation, Tags: tags}, s.getDestinations)
	route.Read(m, route.Op{Method: http.MethodGet, Path: "/api/applications/{id}/rotation", ID: "rotation.get",
		Summary: "How the credentials are", Action: access.ReadRotation, Tags: tags,
		Description: "Versions, where they were delivered, when they were last used, what each waits for and what is wrong. No secrets."},
		s.getStatus)
	route.Write(m, route.Op{Method: http.MethodPost, Path: "/api/applications/{id}/rotations", ID: "rotation.ask",
		Summary: "Rotate now", Action: access.RotateCredentials, Tags: tags, Status: http.StatusAccepted,
		Description: "The answer is the state at the moment of asking: read it again to see the rotation happen. Asking while one is open makes one more afterwards, however often."},
		s.postRotation)
}

func (s *Service) putDestination(ctx context.Context, tx db.WriteTx, c access.Caller, in *destinationInput) (*destinationOutput, error) {
	d, err := ParseDestination(in.Store + "/" + in.Bucket)
	if err != nil {
		return nil, err
	}
	created, err := s.AddDestination(ctx, tx, c, in.ID, d)
	if err != nil {
		return nil, err
	}
	all, err := listDestinations(ctx, tx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &destinationOutput{Status: http.StatusOK}
	if created {
		out.Status = http.StatusCreated
	}
	for _, a := range all {
		if a.Destination == d {
			out.Body = a.wire()
		}
	}
	return out, nil
}

func (s *Service) deleteDestination(ctx context.Context, tx db.WriteTx, c access.Caller, in *destinationInput) (*struct{}, error) {
	d, err := ParseDestination(in.Store + "/" + in.Bucket)
	if err != nil {
		return nil, err
	}
	return nil, s.RemoveDestination(ctx, tx, c, in.ID, d)
}

func (s *Service) getDestinations(ctx context.Context, tx db.ReadTx, c access.Caller, in *applicationInput) (*destinationsOutput, error) {
	all, err := s.Destinations(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	out := &destinationsOutput{Body: api.Destinations{Items: []api.Destination{}}}
	for _, a := range all {
		out.Body.Items = append(out.Body.Items, a.wire())
	}
	return out, nil
}

func (s *Service) getStatus(ctx context.Context, tx db.ReadTx, c access.Caller, in *applicationInput) (*statusOutput, error) {
	r, err := s.Status(ctx, tx, c, in.ID)
	return &statusOutput{r}, err
}

func (s *Service) postRotation(ctx context.Context, tx db.WriteTx, c access.Caller, in *rotationInput) (*statusOutput, error) {
	if err := s.AskRotation(ctx, tx, c, in.ID, in.Body.Kinds); err != nil {
		return nil, err
	}
	r, err := s.Status(ctx, tx, c, in.ID)
	return &statusOutput{r}, err
}

func (a Added) wire() api.Destination {
	return api.Destination{Store: a.Store, Bucket: a.Bucket, Added: a.At, AddedBy: a.By}
}
