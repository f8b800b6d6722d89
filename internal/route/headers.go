package route

import (
	"net/http"
	"slices"
	"strings"
)

// features are what a page can forbid itself and what it frames (Permissions Policy), by the names that browsers
// know without a complaint.
var features = []string{
	"accelerometer", "autoplay", "browsing-topics", "camera", "clipboard-read",
	"clipboard-write", "compute-pressure", "cross-origin-isolated", "display-capture", "encrypted-media",
	"fullscreen", "gamepad", "geolocation", "gyroscope", "hid", "identity-credentials-get", "idle-detection",
	"keyboard-map", "local-fonts", "magnetometer", "microphone", "midi", "otp-credentials", "payment",
	"picture-in-picture", "publickey-credentials-create", "publickey-credentials-get", "screen-wake-lock", "serial", "speaker-selection",
	"storage-access", "sync-xhr", "usb", "window-management", "xr-spatial-tracking",
}

// PermissionsPolicy forbids a page all features of the browser but those named, which it may use itself and hand on to
// nobody.
func PermissionsPolicy(but ...string) string {
	parts := make([]string, len(features))
	for i, f := range features {
		if parts[i] = f + "=()"; slices.Contains(but, f) {
			parts[i] = f + "=(self)"
		}
	}
	return strings.Join(parts, ", ")
}

var (
	denied     = []string{"DENY"}
	sameOrigin = []string{"same-origin"}
	noFeatures = []string{PermissionsPolicy()}
)

// PageHeaders puts what each answer carries that a browser shows or follows, besides what all answers do: unless the
// answer says something else by itself. One that may be framed says so by its own Content-Security-Policy.
func PageHeaders(h http.Header) {
	for _, x := range []struct {
		name  string
		value []string
	}{
		{"Cross-Origin-Opener-Policy", sameOrigin}, {"Cross-Origin-Resource-Policy", sameOrigin}, {"Permissions-Policy", noFeatures},
	} {
		if _, set := h[x.name]; !set {
			h[x.name] = x.value
		}
	}
	if csp := h["Content-Security-Policy"]; len(csp) == 1 && strings.Contains(csp[0], "frame-ancestors 'none'") {
		h["X-Frame-Options"] = denied // what older browsers know
	}
}

func contentType(h http.Header) string {
	if v := h["Content-Type"]; len(v) > 0 {
		return v[0]
	}
	return ""
}
