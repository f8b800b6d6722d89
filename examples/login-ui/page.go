package main

import (
	"crypto/sha256"
	"encoding/base64"
)

// style is the whole stylesheet; the policy of the pages names its hash.
const style = `:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}body{max-width:26rem;margin:10vh auto;padding:0 1rem}
label,input,button{display:block;width:100%;box-sizing:border-box;font:inherit}input{margin:.25rem 0 1rem;padding:.5rem}button{padding:.6rem;margin:.5rem 0}
[role=alert]{border-left:.3rem solid #c33;padding-left:.8rem}`

var styleHash = func() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}()

const pageText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title><style>` + style + `</style></head>
<body><main><h1>{{.Title}}</h1>
{{with .Error}}<p role="alert" id="error">{{.}}</p>{{end}}{{with .Note}}<p>{{.}}</p>{{end}}
{{define "request"}}<input type="hidden" name="client_id" value="{{.Client}}"><input type="hidden" name="redirect_uri" value="{{.Redirect}}"><input type="hidden" name="scope" value="{{.Scope}}"><input type="hidden" name="state" value="{{.State}}"><input type="hidden" name="code_challenge" value="{{.Challenge}}">{{end}}
{{if .SignIn}}<form method="post" action="/sign-in"><input type="hidden" name="form" value="{{.Form}}">{{template "request" .Request}}
<label for="email">E-mail address</label><input id="email" name="email" type="email" autocomplete="username" required value="{{.Email}}">
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required>
<button id="login-submit" type="submit">Sign in</button></form>
{{else if .Scopes}}<p><strong id="client">{{.Client}}</strong> wants to do this for <strong id="user">{{.Email}}</strong>:</p>
<ul>{{range .Scopes}}<li title="{{.Name}}">{{.Text}}</li>{{end}}</ul>
<form method="post" action="/accept"><input type="hidden" name="form" value="{{.Form}}">{{template "request" .Request}}
<button id="consent-allow" type="submit" name="decision" value="allow">Allow</button>
<button id="consent-deny" type="submit" name="decision" value="deny">Do not allow</button></form>
<form method="post" action="/sign-out"><input type="hidden" name="form" value="{{.Form}}"><button type="submit">Sign out</button></form>{{end}}
</main></body></html>
`
