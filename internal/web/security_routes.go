package web

import "github.com/mintmark/mintmark/internal/route"

// SecurityRoutes registers what people sign in with besides a password, and the pages of their account at which they
// change it.
func (p *Pages) SecurityRoutes(m *route.Mux) {
	m.Handle("GET "+p.passkeys, p.PasskeyScript)

	m.Handle("POST /login/passkey", p.SignInPasskey)
	m.Handle("POST /login/passkey/options", p.SignInOptions)
	m.Handle("GET /login/verify", p.VerifyForm)
	m.Handle("POST /login/verify", p.Verify)
	m.Handle("POST /login/verify/options", p.VerifyOptions)
	m.Handle("GET /login/enrol", p.EnrolForm)
	m.Handle("POST /login/enrol", p.Enrol)
	m.Handle("POST /login/enrol/options", p.EnrolOptions)

	m.Handle("GET "+securityPage, p.Security)
	m.Handle("POST "+securityPage+"/passkeys", p.AddPasskey)
	m.Handle("POST "+securityPage+"/passkeys/options", p.PasskeyOptions)
	m.Handle("POST "+securityPage+"/passkeys/rename", p.RenamePasskey)
	m.Handle("POST "+securityPage+"/factors/remove", p.RemoveFactor)
	m.Handle("POST "+securityPage+"/app", p.BeginApp)
	m.Handle("GET "+securityPage+"/app", p.AppForm)
	m.Handle("POST "+securityPage+"/app/confirm", p.ConfirmApp)
	m.Handle("POST "+securityPage+"/codes", p.NewCodes)
	m.Handle("GET /account/password", p.PasswordForm)
	m.Handle("POST /account/password", p.ChangePassword)
	m.Handle("POST /account/password/remove", p.RemovePassword)
	m.Handle("GET "+sessionsPage, p.Sessions)
	m.Handle("POST "+sessionsPage+"/end", p.EndSession)
	m.Handle("POST /account/devices/forget", p.ForgetDevice)
	m.Handle("GET "+approvalsPage, p.Approvals)
	m.Handle("GET "+approvalsPage+"/withdraw", p.WithdrawForm)
	m.Handle("POST "+approvalsPage+"/withdraw", p.Withdraw)
	m.Handle("GET "+activityPage, p.Activity)
	m.Handle("GET "+activityPage+"/help", p.NotMe)
}
