package registry

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/api"
)

// metadataOf reads what was sent or stored. It checks nothing.
func metadataOf(w api.ClientMetadata) Metadata {
	return Metadata{
		AuthMethod: w.AuthMethod, AuthAlg: w.AuthAlg, JWKSURI: w.JWKSURI, ResponseTypes: w.ResponseTypes,
		IDTokenAlg: w.IDTokenAlg, IDTokenKeyAlg: w.IDTokenKeyAlg, IDTokenEnc: w.IDTokenEnc,
		UserinfoAlg: w.UserinfoAlg, UserinfoKeyAlg: w.UserinfoKeyAlg, UserinfoEnc: w.UserinfoEnc,
		AuthorizationAlg: w.AuthorizationAlg, IntrospectionAlg: w.IntrospectionAlg,
		RequestObjectAlg: w.RequestObjectAlg, RequireRequestObject: w.RequireRequestObject, RequirePAR: w.RequirePAR,
		PKCEOptional: w.PKCEOptional, DefaultMaxAge: span(w.DefaultMaxAge), RequireAuthTime: w.RequireAuthTime, DefaultACRs: w.DefaultACRs,
		SubjectType: w.SubjectType, Sector: w.Sector, SectorURI: w.SectorURI,
		BackchannelLogoutURI: w.BackchannelLogoutURI, BackchannelSessionRequired: w.BackchannelSessionRequired,
		FrontchannelLogoutURI: w.FrontchannelLogoutURI, FrontchannelSessionRequired: w.FrontchannelSessionRequired,
		ClientURI: w.ClientURI, LogoURI: w.LogoURI, PolicyURI: w.PolicyURI, TermsURI: w.TermsURI, Contacts: w.Contacts,
		InitiateLoginURI: w.InitiateLoginURI, SoftwareID: w.SoftwareID, SoftwareVersion: w.SoftwareVersion,
		Origins: w.Origins, Resources: w.Resources, FirstParty: w.FirstParty, PersonScopes: w.PersonScopes, PersonPassword: w.PersonPassword,
		AccessTokenLife: span(w.AccessTokenLife), IDTokenLife: span(w.IDTokenLife),
		RefreshIdleLife: span(w.RefreshIdleLife), RefreshAbsoluteLife: span(w.RefreshAbsoluteLife),
	}
}

// wire is m as it is sent and stored.
func (m Metadata) wire() api.ClientMetadata {
	return api.ClientMetadata{
		AuthMethod: m.AuthMethod, AuthAlg: m.AuthAlg, JWKSURI: m.JWKSURI, ResponseTypes: m.ResponseTypes,
		IDTokenAlg: m.IDTokenAlg, IDTokenKeyAlg: m.IDTokenKeyAlg, IDTokenEnc: m.IDTokenEnc,
		UserinfoAlg: m.UserinfoAlg, UserinfoKeyAlg: m.UserinfoKeyAlg, UserinfoEnc: m.UserinfoEnc,
		AuthorizationAlg: m.AuthorizationAlg, IntrospectionAlg: m.IntrospectionAlg,
		RequestObjectAlg: m.RequestObjectAlg, RequireRequestObject: m.RequireRequestObject, RequirePAR: m.RequirePAR,
		PKCEOptional: m.PKCEOptional, DefaultMaxAge: seconds(m.DefaultMaxAge), RequireAuthTime: m.RequireAuthTime, DefaultACRs: m.DefaultACRs,
		SubjectType: m.SubjectType, Sector: m.Sector, SectorURI: m.SectorURI,
		BackchannelLogoutURI: m.BackchannelLogoutURI, BackchannelSessionRequired: m.BackchannelSessionRequired,
		FrontchannelLogoutURI: m.FrontchannelLogoutURI, FrontchannelSessionRequired: m.FrontchannelSessionRequired,
		ClientURI: m.ClientURI, LogoURI: m.LogoURI, PolicyURI: m.PolicyURI, TermsURI: m.TermsURI, Contacts: m.Contacts,
		InitiateLoginURI: m.InitiateLoginURI, SoftwareID: m.SoftwareID, SoftwareVersion: m.SoftwareVersion,
		Origins: m.Origins, Resources: m.Resources, FirstParty: m.FirstParty, PersonScopes: m.PersonScopes, PersonPassword: m.PersonPassword,
		AccessTokenLife: seconds(m.AccessTokenLife), IDTokenLife: seconds(m.IDTokenLife),
		RefreshIdleLife: seconds(m.RefreshIdleLife), RefreshAbsoluteLife: seconds(m.RefreshAbsoluteLife),
	}
}

// span is a number of seconds as a duration. One that would not fit is cut to what does: it is beyond every bound anyway.
func span(seconds int64) time.Duration {
	const most = int64(100 * 365 * 24 * time.Hour / time.Second)
	return time.Duration(max(-1, min(seconds, most))) * time.Second
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// column is m as its column holds it: empty if nothing is said.
func (m Metadata) column() (string, error) {
	b, err := json.Marshal(m.wire())
	if err != nil {
		return "", fmt.Errorf("write the metadata of a client: %w", err)
	}
	if string(b) == "{}" {
		return "", nil
	}
	return string(b), nil
}

func parseMetadata(column string) (Metadata, error) {
	var w api.ClientMetadata
	if column == "" {
		return Metadata{}, nil
	}
	if err := json.Unmarshal([]byte(column), &w); err != nil {
		return Metadata{}, fmt.Errorf("read the metadata of a client: %w", err)
	}
	return metadataOf(w), nil
}
