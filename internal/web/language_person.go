package web

import (
	"net/http"

	"github.com/mintmark/mintmark/internal/db"
)

// noteLanguage keeps the language of the pages at which a person signs in, or chooses one, for letters.
func (p *Pages) noteLanguage(r *http.Request, userID string) error {
	language := p.languageOf(r)
	if asked := spoken(r.URL.Query().Get("lang")); asked != "" {
		language = asked
	}
	if p.info.Outbox == nil {
		return nil
	}
	return p.info.DB.Write(r.Context(), func(tx db.WriteTx) error { return p.info.Outbox.NoteLanguage(r.Context(), tx, userID, language) })
}
