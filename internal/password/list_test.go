package password

import (
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/redact"
)

func TestLeakedPasswords(t *testing.T) {
	if n := len(leaked()); n != 30_000 {
		t.Fatalf("the list has %d entries", n)
	}
	for _, text := range []string{"password12345678", "passwordpassword", "iloveyou!!princess1", "Dragon2026!!!!!!", "!!qwertyuiop1234!!", "123456789012345678"} {
		if err := Rule(redact.New(text)); err == nil || !strings.Contains(err.Error(), "too easy") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"a walk in the rain at night", "correct horse battery staple", "seven small boats on a lake", "k7#Vq9zLm2!xPw4eRt", "пароль который длинный"} {
		if err := Rule(redact.New(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	// The work is bounded, however the text is made.
	for _, unit := range []string{"1", "12", "a1", "0123456789"} {
		guessable(strings.Repeat(unit, MaxBytes/len(unit)))
	}
}
