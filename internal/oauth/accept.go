package oauth

import (
	"mime"
	"strconv"
	"strings"
)

// accepts tells whether an Accept header names the media type, and not with the weight of nothing (RFC 9110 section
// 12.5.1). Ranges such as */* do not: they are what clients send that know only the customary form.
func accepts(headers []string, mediaType string) bool {
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			name, params, err := mime.ParseMediaType(part)
			if err != nil || name != mediaType {
				continue
			}
			weight, given := params["q"]
			if q, err := strconv.ParseFloat(weight, 64); !given || err == nil && q > 0 {
				return true
			}
		}
	}
	return false
}
