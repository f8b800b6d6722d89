package s3api

import (
	"context"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	BucketPath struct {
		Name string `path:"name" maxLength:"63" doc:"Name of the bucket" example:"shop-credentials"`
	}
	ApplicationPath struct {
		ID string `path:"id" maxLength:"100" doc:"Id of the application" example:"sales-orders"`
	}
	KeyPath struct {
		ID string `path:"id" maxLength:"20" doc:"The access key id"`
	}
	putBucketInput struct {
		BucketPath
		Body api.PutBucket
	}
	issueInput struct {
		ApplicationPath
		Body api.IssueStorageKey
	}
	bucketOutput  struct{ Body api.Bucket }
	bucketsOutput struct{ Body api.Buckets }
	keysOutput    struct{ Body api.StorageKeys }
	issuedOutput  struct{ Body api.IssuedStorageKey }
)

// Routes registers the management of buckets and access keys.
func (s *Storage) Routes(m *route.Mux) {
	op := func(method, path, id, summary string, action access.Action) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: action, Tags: []string{"Storage"}}
	}
	route.Read(m, op(http.MethodGet, "/api/buckets", "bucket.list", "List buckets of the embedded S3 endpoint", access.ReadRegistry), s.getBuckets)
	route.Read(m, op(http.MethodGet, "/api/buckets/{name}", "bucket.get", "Read a bucket's record", access.ReadRegistry), s.getBucket)
	route.Write(m, op(http.MethodPut, "/api/buckets/{name}", "bucket.put", "Create a bucket", access.ManageStorage), s.putBucket)
	route.Read(m, op(http.MethodGet, "/api/applications/{id}/storage-keys", "storage_key.list", "List an application's storage keys", access.IssueStorageKey), s.getKeys)
	issue := op(http.MethodPost, "/api/applications/{id}/storage-keys", "storage_key.issue", "Issue a storage key that reads one application's credentials", access.IssueStorageKey)
	issue.Status = http.StatusCreated
	issue.Description = "For the application's agent. The key may read what lies below `<application>/` in the bucket, and nothing else. Its secret is shown this once."
	route.Write(m, issue, s.issueKey)
	route.Write(m, op(http.MethodDelete, "/api/storage-keys/{id}", "storage_key.delete", "Disable a storage key", access.IssueStorageKey), s.deleteKey)
}

func (s *Storage) getBuckets(ctx context.Context, tx db.ReadTx, c access.Caller, in *route.Page) (*bucketsOutput, error) {
	after, err := in.After(1)
	if err != nil {
		return nil, err
	}
	list, err := s.Buckets(ctx, tx, c, after[0], in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &bucketsOutput{Body: api.Buckets{Items: []api.Bucket{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.NextCursor = route.Cursor(list[in.Limit-1].Name)
	}
	for _, b := range list {
		out.Body.Items = append(out.Body.Items, wireBucket(b))
	}
	return out, nil
}

func (s *Storage) getBucket(ctx context.Context, tx db.ReadTx, c access.Caller, in *BucketPath) (*bucketOutput, error) {
	b, err := s.Bucket(ctx, tx, c, in.Name)
	if err != nil {
		return nil, err
	}
	return &bucketOutput{wireBucket(b)}, nil
}

func (s *Storage) putBucket(ctx context.Context, tx db.WriteTx, c access.Caller, in *putBucketInput) (*bucketOutput, error) {
	b, err := s.CreateBucket(ctx, tx, c, Bucket{Name: in.Name, Team: in.Body.TeamID})
	if err != nil {
		return nil, err
	}
	return &bucketOutput{wireBucket(b)}, nil
}

// application answers the team of an application and whether it is active. Whoever may not read the registry does not
// learn here which applications there are.
func (s *Storage) application(ctx context.Context, tx db.ReadTx, c access.Caller, id string) (team string, active bool, err error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "application", ID: id}); err != nil {
		return "", false, err
	}
	return s.applications.Team(ctx, tx, id)
}

func (s *Storage) getKeys(ctx context.Context, tx db.ReadTx, c access.Caller, in *ApplicationPath) (*keysOutput, error) {
	team, _, err := s.application(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	keys, err := s.ApplicationKeys(ctx, tx, c, in.ID, team)
	if err != nil {
		return nil, err
	}
	out := &keysOutput{Body: api.StorageKeys{Items: []api.StorageKey{}}}
	for _, k := range keys {
		out.Body.Items = append(out.Body.Items, wireKey(k))
	}
	return out, nil
}

func (s *Storage) issueKey(ctx context.Context, tx db.WriteTx, c access.Caller, in *issueInput) (*issuedOutput, error) {
	team, active, err := s.application(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	k, secret, err := s.CreateApplicationKey(ctx, tx, c, in.ID, team, in.Body.Bucket)
	if err != nil {
		return nil, err
	}
	if !active { // said only to whom the key would have been given; the transaction takes it back
		return nil, fault.New(fault.Conflict, "application_inactive", "The application is not active, and its storage keys are disabled. Activate it first.")
	}
	return &issuedOutput{api.IssuedStorageKey{StorageKey: wireKey(k), SecretAccessKey: secret.Reveal()}}, nil
}

func (s *Storage) deleteKey(ctx context.Context, tx db.WriteTx, c access.Caller, in *KeyPath) (*struct{}, error) {
	return nil, s.DisableKey(ctx, tx, c, in.ID)
}

func wireBucket(b Bucket) api.Bucket {
	return api.Bucket{Name: b.Name, TeamID: b.Team, Created: b.Created, CreatedBy: b.CreatedBy}
}

func wireKey(k Key) api.StorageKey {
	prefix := ""
	if len(k.Rules) == 1 {
		prefix = k.Rules[0].Prefix
	}
	return api.StorageKey{
		ID: k.ID, Application: k.Application, Bucket: k.Bucket, Prefix: prefix, Created: k.Created, CreatedBy: k.CreatedBy,
		Disabled: timeOrNil(k.Disabled), LastUsed: timeOrNil(k.LastUsed),
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
