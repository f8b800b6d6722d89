package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

// putAttributes changes attributes of a person, whose types the server knows.
func putAttributes(ctx context.Context, c *client.Client, u *api.User, said map[string]string) error {
	known, err := c.UserAttributes(ctx, u.ID)
	if err != nil {
		return err
	}
	body := api.PutUserAttributes{Attributes: map[string]json.RawMessage{}}
	for name, text := range said {
		i := slices.IndexFunc(known.Items, func(a api.UserAttribute) bool { return a.Name == name })
		if i < 0 {
			return &explained{err: fmt.Errorf("realm %s has no attribute %q", u.Realm, name), hint: "The setting realms[].attributes of the server declares them; mintmark user show lists them."}
		}
		if body.Attributes[name], err = attributeValue(known.Items[i].Type, text); err != nil {
			return usage(fmt.Errorf("--attribute %s: %w", name, err))
		}
	}
	_, err = c.PutUserAttributes(ctx, u.ID, body)
	return err
}

// attributeValue is the JSON of what was typed.
func attributeValue(kind, text string) (json.RawMessage, error) {
	if text == "" {
		return json.RawMessage("null"), nil
	}
	var value any = text
	switch kind {
	case "list":
		entries := strings.Split(text, ",")
		for i := range entries {
			entries[i] = strings.TrimSpace(entries[i])
		}
		value = entries
	case "number", "boolean":
		if value = json.RawMessage(text); !json.Valid([]byte(text)) {
			return nil, fmt.Errorf("%q is no %s", text, kind)
		}
	}
	b, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write an attribute: %w", err)
	}
	return b, nil
}

// attributeFields are the attributes of a person, for people: names and values in turn.
func attributeFields(list []api.UserAttribute) (pairs []string) {
	for _, a := range list {
		var entries []string
		text := string(a.Value)
		switch {
		case a.Type == "list" && json.Unmarshal(a.Value, &entries) == nil:
			text = strings.Join(entries, ", ")
		case a.Type == "string" && json.Unmarshal(a.Value, &text) != nil:
			text = string(a.Value)
		}
		if a.Type == "" {
			text += " (declared no more)"
		}
		pairs = append(pairs, "attribute "+a.Name, text)
	}
	return pairs
}
