package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

type providerCommands struct {
	List   providerList   `cmd:"" help:"List the providers."`
	Show   providerShow   `cmd:"" help:"Show one, with the addresses to register there."`
	Set    providerSet    `cmd:"" help:"Make a provider, or change what is said of it."`
	Check  providerCheck  `cmd:"" help:"Fetch its documents now and tell what a login would fail for."`
	Delete providerDelete `cmd:"" help:"Remove a provider, and unlink everybody from it."`
}

// providerID names a provider.
type providerID struct {
	ID string `arg:"" help:"Your name for the provider, such as example-org. It stands in the redirect URI."`
}

type providerList struct{}

func (providerList) Help() string {
	return `Examples:

    mintmark provider list`
}

func (providerList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	list, err := c.LoginProviders(ctx)
	if err != nil {
		return err
	}
	return s.print(list, func(w io.Writer) {
		var rows [][]string
		for _, p := range list.Items {
			rows = append(rows, []string{p.ID, p.Name, p.Realm, p.Issuer, providerState(p), fmt.Sprint(p.Linked)})
		}
		s.table(w, "people sign in with no provider", []string{"ID", "NAME", "REALM", "ISSUER", "STATE", "LINKED"}, rows)
	})
}

func providerState(p api.LoginProvider) string {
	if p.Enabled {
		return "enabled"
	}
	return "shut off"
}

type providerShow struct{ providerID }

func (providerShow) Help() string {
	return `Register the redirect URI at the provider, letter by letter.

Examples:

    mintmark provider show example-org`
}

func (cmd *providerShow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	p, err := c.LoginProvider(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(p, func(w io.Writer) { s.showProvider(w, *p) })
}

func (s *Session) showProvider(w io.Writer, p api.LoginProvider) {
	on := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	attributes, groups := ruleTexts(p.Claims)
	fields(w, "id", p.ID, "name", p.Name, "realm", p.Realm, "state", providerState(p), "issuer", p.Issuer, "client id", p.ClientID, "client auth", p.ClientAuth,
		"scopes", strings.Join(p.Scopes, " "), "redirect uri", p.RedirectURI, "logout uri", p.LogoutURI, "signed out uri", p.SignedOutURI, "linked people", fmt.Sprint(p.Linked),
		"creates users", on(p.Policy.CreateUsers), "follows claims", on(p.Policy.Sync), "tells auth_time", on(!p.Policy.NoAuthTime), "trusted to ask anew", on(p.Policy.TrustPromptLogin), "offers logout there", on(p.Policy.OfferLogout), "asks userinfo", on(p.Policy.Userinfo),
		"only domains", strings.Join(p.Policy.AllowedDomains, " "), "has the word for", strings.Join(p.Policy.AuthoritativeDomains, " "),
		"needs acr", strings.Join(p.Policy.RequiredACR, " "), "needs amr", strings.Join(p.Policy.RequiredAMR, " "),
		"second factor acr", strings.Join(p.Policy.SecondFactorACR, " "), "second factor amr", strings.Join(p.Policy.SecondFactorAMR, " "),
		"username from", p.Claims.Username, "name from", p.Claims.Name, "email from", p.Claims.Email, "verified by", p.Claims.EmailVerified, "phone from", p.Claims.Phone,
		"attributes", strings.Join(attributes, ", "), "groups from", p.Claims.Groups.Claim, "groups", strings.Join(groups, ", "), "group prefix", p.Claims.Groups.Prefix,
		"changed", s.at(p.LastModified)+" by "+p.LastModifiedBy)
}

type providerSet struct {
	providerID
	Realm      string   `placeholder:"REALM" help:"Whose people sign in with it. Needed the first time; it stays."`
	Name       string   `placeholder:"TEXT" help:"What stands on the button. Needed the first time."`
	Issuer     string   `placeholder:"URL" help:"Its issuer, as its own documents say it. Needed the first time."`
	ClientID   string   `placeholder:"ID" help:"What it calls this server. Needed the first time."`
	ClientAuth string   `placeholder:"METHOD" help:"client_secret_basic, client_secret_post, private_key_jwt (signed with the keys of this server's key set) or none. Default: client_secret_basic if there is a secret."`
	SecretFile string   `type:"path" placeholder:"FILE" help:"File with the client secret, or - for standard input. It stays as it is if not given, and is never shown."`
	Scope      []string `placeholder:"SCOPE" help:"Ask for this scope. Repeat it for more. Default: openid, profile and email."`
	Disabled   *bool    `negatable:"" help:"Shut it off: nobody signs in with it, and sessions that began with it end."`

	CreateUsers     *bool    `negatable:"" help:"Whoever is not known yet gets an account at the first login."`
	Sync            *bool    `negatable:"" help:"Name, verified address and telephone number follow the provider at each login."`
	AllowDomain     []string `placeholder:"DOMAIN" help:"Only people with a verified address of this domain sign in. Repeat it for more."`
	Authoritative   []string `placeholder:"DOMAIN" help:"The provider has the word for this domain: its people are linked by their verified address, without being asked. Repeat it for more."`
	RequireACR      []string `name:"require-acr" placeholder:"ACR" help:"The login must have this class, or another one that is named."`
	RequireAMR      []string `name:"require-amr" placeholder:"AMR" help:"The login must have used this method, and each other one that is named."`
	SecondFactorACR []string `name:"second-factor-acr" placeholder:"ACR" help:"A login of this class counts as one with two factors. Repeat it for more."`
	SecondFactorAMR []string `name:"second-factor-amr" placeholder:"AMR" help:"A login by this method counts as one with two factors, such as mfa. Repeat it for more."`
	NoAuthTime      *bool    `negatable:"" help:"It does not tell when somebody signed in there: a login with it counts as one of long ago, and is not enough where a new one is asked for."`
	TrustPrompt     *bool    `name:"trust-prompt-login" negatable:"" help:"With --no-auth-time: it is known to have people sign in anew when it is asked to (prompt=login), so that this counts as a login just now."`
	OfferLogout     *bool    `negatable:"" help:"Whoever signs out here of a session that began there is offered to sign out there as well."`
	Userinfo        *bool    `negatable:"" help:"Ask its userinfo endpoint for claims as well."`

	UsernameClaim      string `placeholder:"CLAIM" help:"Suggests a username. Default: preferred_username."`
	NameClaim          string `placeholder:"CLAIM" help:"Default: name."`
	EmailClaim         string `placeholder:"CLAIM" help:"Default: email."`
	EmailVerifiedClaim string `placeholder:"CLAIM" help:"Tells whether the address is verified; others are not used. Default: email_verified."`
	PhoneClaim         string `placeholder:"CLAIM" help:"Default: phone_number."`

	Attribute   []string `sep:"none" placeholder:"NAME=CLAIM" help:"The provider keeps this attribute of people, by this claim. Repeat it for more; an empty text removes all."`
	GroupClaim  *string  `placeholder:"CLAIM" help:"Lists the groups of the person there. An empty text: it puts people into no group."`
	Group       []string `sep:"none" placeholder:"VALUE=GROUP" help:"Whoever has this value there is in this group here. Repeat it for more; an empty text removes all."`
	GroupPrefix *string  `placeholder:"PREFIX" help:"Whoever has a value there is also in the group here whose name is this prefix and the value, if there is one. It ends with one of . _ : / -"`
}

func (providerSet) Help() string {
	return `What is not given stays as it is. A list is replaced by what is given; an empty text empties it.

Examples:

    mintmark provider set example-org --realm employees --name "Example Org" --issuer https://login.example.org --client-id mintmark --secret-file secret
    mintmark provider set google --realm customers --name Google --issuer https://accounts.google.com --client-id 123.apps.googleusercontent.com --secret-file - --no-auth-time --create-users
    mintmark provider set example-org --group-claim groups --group "Engineering Team=engineering" --attribute department=dept
    mintmark provider set example-org --disabled`
}

func (cmd *providerSet) Run(ctx context.Context, s *Session, in io.Reader) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var etag string
	var body api.PutLoginProvider
	before, err := c.LoginProvider(ctx, cmd.ID, client.ETag(&etag))
	condition := client.IfMatch(etag)
	switch {
	case err == nil:
		body = api.PutLoginProvider{
			Realm: before.Realm, Name: before.Name, Disabled: !before.Enabled, Issuer: before.Issuer, ClientID: before.ClientID, ClientAuth: before.ClientAuth,
			Scopes: before.Scopes, Claims: before.Claims, Policy: before.Policy,
		}
	case errors.Is(err, api.ErrNotFound):
		condition = client.CreateOnly()
	default:
		return err
	}
	if err := cmd.change(&body, in); err != nil {
		return err
	}
	p, err := c.PutLoginProvider(ctx, cmd.ID, body, condition)
	if err != nil {
		return err
	}
	return s.print(p, func(w io.Writer) { s.showProvider(w, *p) })
}

// change puts what was given into the body.
func (cmd *providerSet) change(b *api.PutLoginProvider, in io.Reader) error {
	for to, text := range map[*string]string{
		&b.Realm: cmd.Realm, &b.Name: cmd.Name, &b.Issuer: cmd.Issuer, &b.ClientID: cmd.ClientID, &b.ClientAuth: cmd.ClientAuth, &b.Claims.Username: cmd.UsernameClaim,
		&b.Claims.Name: cmd.NameClaim, &b.Claims.Email: cmd.EmailClaim, &b.Claims.EmailVerified: cmd.EmailVerifiedClaim, &b.Claims.Phone: cmd.PhoneClaim,
	} {
		if text != "" {
			*to = text
		}
	}
	if b.Realm == "" || b.Name == "" || b.Issuer == "" || b.ClientID == "" {
		return usage(errors.New("say --realm, --name, --issuer and --client-id the first time"))
	}
	policy := &b.Policy
	for to, list := range map[*[]string][]string{
		&b.Scopes: cmd.Scope, &policy.AllowedDomains: cmd.AllowDomain, &policy.AuthoritativeDomains: cmd.Authoritative, &policy.RequiredACR: cmd.RequireACR,
		&policy.RequiredAMR: cmd.RequireAMR, &policy.SecondFactorACR: cmd.SecondFactorACR, &policy.SecondFactorAMR: cmd.SecondFactorAMR,
	} {
		switch {
		case len(list) == 1 && list[0] == "":
			*to = nil
		case list != nil:
			*to = list
		}
	}
	for to, value := range map[*bool]*bool{&b.Disabled: cmd.Disabled, &policy.CreateUsers: cmd.CreateUsers, &policy.Sync: cmd.Sync, &policy.NoAuthTime: cmd.NoAuthTime, &policy.TrustPromptLogin: cmd.TrustPrompt, &policy.Userinfo: cmd.Userinfo, &policy.OfferLogout: cmd.OfferLogout} {
		if value != nil {
			*to = *value
		}
	}
	if err := cmd.changeRules(&b.Claims); err != nil {
		return err
	}
	if cmd.SecretFile == "" {
		return nil
	}
	secret, err := secretLine(cmd.SecretFile, in)
	if err != nil {
		return fmt.Errorf("read the client secret: %w", err)
	}
	if b.ClientSecret = secret; cmd.ClientAuth == "" && (b.ClientAuth == "none" || b.ClientAuth == "private_key_jwt") {
		b.ClientAuth = "" // a secret is there now
	}
	return nil
}

// changeRules puts in which groups and attributes the provider gives.
func (cmd *providerSet) changeRules(c *api.ProviderClaims) error {
	for to, text := range map[*string]*string{&c.Groups.Claim: cmd.GroupClaim, &c.Groups.Prefix: cmd.GroupPrefix} {
		if text != nil {
			*to = *text
		}
	}
	if cmd.GroupClaim != nil && *cmd.GroupClaim == "" {
		c.Groups = api.ProviderGroups{}
	}
	if cmd.Attribute != nil {
		c.Attributes = nil
	}
	if cmd.Group != nil {
		c.Groups.Map = nil
	}
	for _, text := range cmd.Attribute {
		name, claim, ok := strings.Cut(text, "=")
		if text != "" && !ok {
			return usage(fmt.Errorf("--attribute %s: write NAME=CLAIM", plain(text)))
		}
		if text != "" {
			c.Attributes = append(c.Attributes, api.ProviderAttribute{Claim: claim, Attribute: name})
		}
	}
	for _, text := range cmd.Group {
		i := strings.LastIndexByte(text, '=') // the provider's own words may hold one
		if text != "" && i < 0 {
			return usage(fmt.Errorf("--group %s: write VALUE=GROUP", plain(text)))
		}
		if text != "" {
			c.Groups.Map = append(c.Groups.Map, api.ProviderGroup{Value: text[:i], Group: text[i+1:]})
		}
	}
	return nil
}

// ruleTexts are the rules as they are typed.
func ruleTexts(c api.ProviderClaims) (attributes, groups []string) {
	for _, a := range c.Attributes {
		attributes = append(attributes, a.Attribute+"="+a.Claim)
	}
	for _, g := range c.Groups.Map {
		groups = append(groups, g.Value+"="+g.Group)
	}
	return attributes, groups
}

// secretLine reads the one line of a file, or, with -, of standard input.
func secretLine(path string, in io.Reader) (string, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		in = file
	}
	b, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(b), "\r\n")
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", usage(errors.New("the file must hold one line, and nothing else"))
	}
	return line, nil
}

type providerCheck struct{ providerID }

func (providerCheck) Help() string {
	return `Exits with 1 if a login would fail.

Examples:

    mintmark provider check example-org`
}

func (cmd *providerCheck) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	found, err := c.CheckLoginProvider(ctx, cmd.ID)
	if err != nil {
		return err
	}
	if err := s.print(found, func(w io.Writer) {
		fields(w, "authorization endpoint", found.AuthorizationEndpoint, "token endpoint", found.TokenEndpoint, "usable keys", fmt.Sprint(found.Keys), "names itself", fmt.Sprint(found.TellsIssuer))
		for _, problem := range found.Problems {
			fmt.Fprintln(w, plain(problem))
		}
	}); err != nil {
		return err
	}
	if !found.OK {
		return errors.New("nobody can sign in with this provider")
	}
	return nil
}

type providerDelete struct{ providerID }

func (providerDelete) Help() string {
	return `Sessions that began with it end. Its people keep their accounts; who has no password and no passkey needs an invitation to get in again.

Examples:

    mintmark provider delete example-org`
}

func (cmd *providerDelete) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DeleteLoginProvider(ctx, cmd.ID); err != nil {
		return err
	}
	s.say("deleted provider %s", cmd.ID)
	return nil
}
