package oauth

import (
	"slices"
)

// maxResources is how many resources one token may be for.
const maxResources = 8

// mayTarget tells whether tokens for the resource may be made for the client: all clients' may be for this installation
// itself, other resources are those that an administrator named for the client. What nobody named is nobody's.
func (s *Server) mayTarget(c Client, resource string) bool {
	return slices.Contains(s.audience, resource) || slices.Contains(c.Metadata.Resources, resource)
}

// audienceOf is the aud of the token that is asked for.
func (s *Server) audienceOf(t *tokenRequest) []string {
	if len(t.audience) == 0 {
		return s.audience
	}
	return t.audience
}

// chooseResources checks the resources that a new grant is asked for (RFC 8707 section 2). nil is this installation.
func (s *Server) chooseResources(c Client, asked []string) ([]string, error) {
	if len(asked) > maxResources {
		return nil, refuse(invalidTarget, "Too many resources.")
	}
	var chosen []string
	for _, resource := range asked {
		if !s.mayTarget(c, resource) {
			return nil, refuse(invalidTarget, "No such resource is known, or this client may not ask for it.")
		}
		if !slices.Contains(chosen, resource) {
			chosen = append(chosen, resource)
		}
	}
	return chosen, nil
}

// narrowResources answers whom one token of a grant is for: what was asked for, which must be among what the grant is for,
// or else all of that; and in either case nothing that the client may not ask for any more.
func (s *Server) narrowResources(c Client, granted, asked []string) ([]string, error) {
	if len(granted) == 0 {
		granted = s.audience
	}
	if len(asked) > maxResources || !covers(granted, asked) {
		return nil, refuse(invalidTarget, "The grant is not for this resource.")
	}
	if len(asked) == 0 {
		asked = granted
	}
	left := slices.DeleteFunc(slices.Clone(asked), func(resource string) bool { return !s.mayTarget(c, resource) })
	slices.Sort(left)
	if left = slices.Compact(left); len(left) == 0 {
		return nil, refuse(invalidTarget, "This client may not ask for the resource any more.")
	}
	return left, nil
}
