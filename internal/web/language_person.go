package web

import (
	"net/http"

	"github.com/mintmark/mintmark/internal/db"
)

// noteLanguage keeps the language of the pages at which a person signs in, or chooses one, for letters.
func (p *Pages) noteLanguage(r *http.Request, userID, language string) error {
	if p.info.Outbox == nil || language == "" {
		return nil
	}
	return p.info.DB.Write(r.Context(), func(tx db.WriteTx) error { return p.info.Outbox.NoteLanguage(r.Context(), tx, userID, language) })
}
