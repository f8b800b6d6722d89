package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// LocalStore is the name of the embedded S3 endpoint among the stores that credentials are delivered to.
const LocalStore = "local"

// Rotation tells how the credentials of an application are: versions, deliveries, problems. Access requirement:
// credential.read_status.
func (c *Client) Rotation(ctx context.Context, application string) (*api.Rotation, error) {
	return get[api.Rotation](ctx, c, nil, nil, "applications", application, "rotation")
}

// Rotate asks for new credentials of these kinds (none: all) and answers the state at that moment. Access requirement:
// credential.rotate.
func (c *Client) Rotate(ctx context.Context, application string, kinds ...string) (*api.Rotation, error) {
	return post[api.Rotation](ctx, c, api.AskRotation{Kinds: kinds}, "applications", application, "rotations")
}

// Destinations lists the buckets that an application's credentials are written to. Access requirement:
// credential.read_status.
func (c *Client) Destinations(ctx context.Context, application string) (*api.Destinations, error) {
	return get[api.Destinations](ctx, c, nil, nil, "applications", application, "destinations")
}

// AddDestination has an application's credentials written to a bucket from now on. Access requirement:
// application.write.
func (c *Client) AddDestination(ctx context.Context, application, store, bucket string) (*api.Destination, error) {
	return put[api.Destination](ctx, c, nil, nil, "applications", application, "destinations", store, bucket)
}

// RemoveDestination stops writing to a bucket. What lies there stays, and stops working as it rotates. Access
// requirement: application.write.
func (c *Client) RemoveDestination(ctx context.Context, application, store, bucket string) error {
	return c.remove(ctx, nil, "applications", application, "destinations", store, bucket)
}
