package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// Buckets lists a page of buckets of the embedded S3 endpoint. Access requirement: storage.manage.
func (c *Client) Buckets(ctx context.Context, p Page) (*api.Buckets, error) {
	return get[api.Buckets](ctx, c, p.query(), nil, "buckets")
}

// Bucket reads one bucket. Access requirement: storage.manage.
func (c *Client) Bucket(ctx context.Context, name string) (*api.Bucket, error) {
	return get[api.Bucket](ctx, c, nil, nil, "buckets", name)
}

// PutBucket makes a bucket of the embedded S3 endpoint. Access requirement: storage.manage.
func (c *Client) PutBucket(ctx context.Context, name string, body api.PutBucket) (*api.Bucket, error) {
	return put[api.Bucket](ctx, c, body, nil, "buckets", name)
}

// StorageKeys lists the access keys of an application, without their secrets. Access requirement: storage.issue_key.
func (c *Client) StorageKeys(ctx context.Context, application string) (*api.StorageKeys, error) {
	return get[api.StorageKeys](ctx, c, nil, nil, "applications", application, "storage-keys")
}

// IssueStorageKey makes an access key that reads the application's own prefix of a bucket. Its secret is shown this
// once. Access requirement: storage.issue_key.
func (c *Client) IssueStorageKey(ctx context.Context, application string, body api.IssueStorageKey) (*api.IssuedStorageKey, error) {
	return post[api.IssuedStorageKey](ctx, c, body, "applications", application, "storage-keys")
}

// DisableStorageKey ends an access key. Access requirement: storage.issue_key.
func (c *Client) DisableStorageKey(ctx context.Context, id string) error {
	return c.remove(ctx, nil, "storage-keys", id)
}
