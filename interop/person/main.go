// Command person is somebody with a browser that has cookies and no script: it opens an address, fills in the forms that
// mintmark shows on the way, and tells where it ended. Other people's clients are tried with it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

func main() {
	p := person{answer: "allow"}
	password := flag.String("password-file", "", "file with the password")
	deny := flag.Bool("deny", false, "deny what the client asks for")
	flag.StringVar(&p.realm, "realm", "customers", "realm of the person")
	flag.StringVar(&p.username, "username", "alice", "name of the person")
	flag.StringVar(&p.stop, "stop-at", "", "do not open an address that begins so, but print it")
	flag.Parse()
	if *deny {
		p.answer = "deny"
	}
	text, err := os.ReadFile(*password)
	if err == nil {
		p.password = strings.TrimSpace(string(text))
		err = p.walk(flag.Arg(0), os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "person:", err)
		os.Exit(1)
	}
}

type person struct {
	realm, username, password, answer string
	stop                              string

	http *http.Client
}

// walk goes on until a page has no form that it knows. It prints that page, or the address at which it was to stop.
func (p *person) walk(address string, out io.Writer) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	var stopped string
	p.http = &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if p.stop != "" && strings.HasPrefix(r.URL.String(), p.stop) {
			stopped = r.URL.String()
			return http.ErrUseLastResponse
		}
		if len(via) > 10 {
			return errors.New("redirected in a circle")
		}
		return nil
	}}
	page, err := p.open(http.MethodGet, address, nil)
	signedIn := false
	for range 6 {
		if err != nil {
			return err
		}
		if stopped != "" {
			_, err := fmt.Fprintln(out, stopped)
			return err
		}
		button, form := page.form()
		fields := hidden(form)
		switch button {
		case "login-submit":
			if signedIn {
				return fmt.Errorf("the person could not sign in: %s", page.body)
			}
			signedIn = true
			fields.Set("realm", p.realm)
			fields.Set("username", p.username)
			fields.Set("password", p.password)
		case "consent-allow", "device-allow":
			fields.Set("decision", p.answer)
		case "":
			if page.status != http.StatusOK {
				return fmt.Errorf("%s answers %d: %s", page.at, page.status, page.body)
			}
			_, err := io.WriteString(out, page.body)
			return err
		}
		page, err = p.open(http.MethodPost, page.action(form), fields)
	}
	return errors.New("the forms have no end")
}

type page struct {
	at     *url.URL
	status int
	body   string
}

func (p *person) open(method, address string, form url.Values) (page, error) {
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return page{}, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	r.Header.Set("Accept", "text/html")
	res, err := p.http.Do(r)
	if err != nil {
		return page{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return page{res.Request.URL, res.StatusCode, string(body)}, err
}

// buttons are what the person presses, by the ids that the pages promise.
var buttons = []string{"login-submit", "consent-allow", "device-allow", "device-submit", "continue", "logout-confirm"}

var (
	formTag   = regexp.MustCompile(`(?s)<form[^>]*>.*?</form>`)
	actionTag = regexp.MustCompile(`^<form[^>]* action="([^"]*)"`)
	inputTag  = regexp.MustCompile(`<input[^>]*>`)
	attribute = regexp.MustCompile(` (type|name|value)="([^"]*)"`)
)

// form finds the form with a button that the person would press; "" if there is none.
func (p page) form() (button, form string) {
	for _, form := range formTag.FindAllString(p.body, -1) {
		for _, button := range buttons {
			if strings.Contains(form, `id="`+button+`"`) {
				return button, form
			}
		}
	}
	return "", ""
}

func (p page) action(form string) string {
	action := p.at.String()
	if found := actionTag.FindStringSubmatch(form); found != nil {
		if to, err := p.at.Parse(html.UnescapeString(found[1])); err == nil {
			action = to.String()
		}
	}
	return action
}

// hidden are the fields that the form brings along, and those that it has filled in already.
func hidden(form string) url.Values {
	fields := url.Values{}
	for _, input := range inputTag.FindAllString(form, -1) {
		var name, value, kind string
		for _, a := range attribute.FindAllStringSubmatch(input, -1) {
			switch a[1] {
			case "name":
				name = html.UnescapeString(a[2])
			case "value":
				value = html.UnescapeString(a[2])
			case "type":
				kind = a[2]
			}
		}
		if name != "" && (kind == "hidden" || value != "") && kind != "submit" {
			fields.Set(name, value)
		}
	}
	return fields
}
