package redact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/redact"
)

const canary = "canary-7f3a"

type holder struct {
	Name   string
	Secret redact.Secret
	Ptr    *redact.Secret
	hidden redact.Secret
}

func TestNeverPrints(t *testing.T) {
	s := redact.New(canary)
	h := holder{"n", s, &s, s}
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v", "%10.3s"} {
		out["secret "+verb] = fmt.Sprintf(strings.ReplaceAll(verb, "%T ", ""), s)
		out["pointer "+verb] = fmt.Sprintf(strings.ReplaceAll(verb, "%T ", ""), &s)
		out["struct "+verb] = fmt.Sprintf(strings.ReplaceAll(verb, "%T ", ""), h)
	}
	j, err := json.Marshal(map[string]any{"h": h, "s": s, "list": []redact.Secret{s}})
	if err != nil {
		t.Fatal(err)
	}
	out["json"] = string(j)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "h", h, slog.Any("p", &s))
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "h", h)
	out["slog"] = log.String()
	out["error"] = fmt.Errorf("login with %v: %w", s, errors.New("no")).Error()
	out["println"] = fmt.Sprintln(s, h)
	for where, text := range out {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) || strings.Contains(text, fmt.Sprint([]byte(canary))) {
			t.Errorf("%s shows the secret: %s", where, text)
		}
	}
	if !strings.Contains(out["json"], "[redacted]") {
		t.Errorf("json does not say that something is missing: %s", out["json"])
	}
}

func TestEqual(t *testing.T) {
	a := redact.New("abc")
	if !a.Equal(redact.New("abc")) || a.Equal(redact.New("abd")) || a.Equal(redact.New("ab")) || a.Equal(redact.Secret{}) {
		t.Fatal("Equal is wrong")
	}
}

func TestErase(t *testing.T) {
	s := redact.New(canary)
	s.Erase()
	if s.Reveal() == canary {
		t.Fatal("still there")
	}
}

func TestUnmarshal(t *testing.T) {
	var v struct{ S redact.Secret }
	if err := json.Unmarshal([]byte(`{"S":"`+canary+`"}`), &v); err != nil || v.S.Reveal() != canary {
		t.Fatalf("%v %v", v, err)
	}
}
