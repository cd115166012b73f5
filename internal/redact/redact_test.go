package redact

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"

	"clipper/bus"
	"clipper/httpdec/exchange"
)

const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"

var pseudonym = regexp.MustCompile(prefix + `[0-9a-f]{12}`)

// shape is s with each pseudonym as a number, in the order of their first use.
func shape(s string) string {
	seen := map[string]string{}
	return pseudonym.ReplaceAllStringFunc(s, func(m string) string {
		if seen[m] == "" {
			seen[m] = "<" + string(rune('1'+len(seen))) + ">"
		}
		return seen[m]
	})
}

func TestHeaders(t *testing.T) {
	for _, c := range [][3]string{
		{"Authorization", "Bearer abc", "Bearer <1>"},
		{"authorization", "Basic dXNlcjpwYXNz", "Basic <1>"},
		{"Authorization", `Digest username="joe", response="6629fae4"`, `Digest username="<1>", response="<2>"`},
		{"Authorization", "abc", "<1>"},
		{"Proxy-Authorization", "Basic x", "Basic <1>"},
		{"Cookie", "a=1; b=2; c=1", "a=<1>; b=<2>; c=<1>"},
		{"Set-Cookie", "id=42; Path=/; HttpOnly", "id=<1>; Path=/; HttpOnly"},
		{"X-API-Key", "k", "<1>"},
		{"x-goog-api-key", "k", "<1>"},
		{"X-Amz-Security-Token", "k", "<1>"},
		{"X-CSRF-Token", "k", "<1>"},
		{"Accept", "text/html", "text/html"},
		{":authority", "example.com", "example.com"},
		{":path", "/a?access_token=x&b=1", "/a?access_token=<1>&b=1"},
		{"Location", "https://a/cb#id_token=" + jwt, "https://a/cb#id_token=<1>"},
		{"Referer", "https://joe:pw@a/", "https://joe:<1>@a/"},
		{"Access-Control-Allow-Credentials", "true", "true"},
		{"X-Trace", jwt, "<1>"},
	} {
		if got := shape(New().header(c[0], c[1])); got != c[2] {
			t.Errorf("%s: %s gives %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestBodies(t *testing.T) {
	for in, want := range map[string]string{
		`user=joe&password=a%20b&code=x`:                                         `user=joe&password=<1>&code=<2>`,
		`{"user":"joe","password":"p","n":1}`:                                    `{"user":"joe","password":"<1>","n":1}`,
		`{"a":[{"access_token" : "p"},{"access_token":"p"}],"code":"not_found"}`: `{"a":[{"access_token" : "<1>"},{"access_token":"<1>"}],"code":"not_found"}`,
		`{"token":{"type":"x","value":["y"]},"z":"w"}`:                           `{"token":{"type":"<1>","value":["<2>"]},"z":"w"}`,
		`{"max_tokens":100,"tokens":7,"pin":1234,"z":1}`:                         `{"max_tokens":100,"tokens":7,"pin":"<1>","z":1}`,
		`{"token":null,"secret":true,"password":""}`:                             `{"token":null,"secret":true,"password":""}`,
		`{"q":"{\"token\":\"x\",\"a\":1}"}`:                                      `{"q":"{\"token\":\"<1>\",\"a\":1}"}`,
		`[{"name":"password","value":"p"},{"value":"v","name":"x"},{"key":"X-Token","note":"n","value":["t"]},{"name":"a","value":"b"}]`: `[{"name":"password","value":"<1>"},{"value":"v","name":"x"},{"key":"X-Token","note":"n","value":["<2>"]},{"name":"a","value":"b"}]`,
		`{"pass\u0077ord":"p"}`:                       `{"pass\u0077ord":"<1>"}`,
		`{"password":"cut off`:                        `{"password":"<1>"`,
		`<a><Password x="1">p</Password><b>c</b></a>`: `<a><Password x="1"><1></Password><b>c</b></a>`,
		"--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\np\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n--b--\r\n": "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n<1>\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n--b--\r\n",
		`log: bearer abcdefghijkl0 and ` + jwt + `!`:                    `log: bearer <1> and <2>!`,
		`AKIAABCDEFGHIJKLMNOP ghp_abcdefghijklmnopqrstuvwxyz0123456789`: `<1> <2>`,
		"nothing to see": "nothing to see",
		"":               "",
	} {
		if got := shape(New().body(in)); got != want {
			t.Errorf("%q gives\n%q, want\n%q", in, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for in, want := range map[string]string{
		"curl -H|Authorization: Bearer x|https://a/?token=y": "curl -H|Authorization: Bearer <1>|https://a/?token=<2>",
		"curl|-u|joe:pw|-b|a=b|-d|password=x":                "curl|-u|joe:<1>|-b|a=<2>|-d|password=<3>",
		"app|--api-key|k|--token=t|--verbose|x|API_TOKEN=t":  "app|--api-key|<1>|--token=<2>|--verbose|x|API_TOKEN=<2>",
		"password|x": "password|x",
		`sh|-c|API_TOKEN=t; curl -u joe:pw -H "Authorization: Bearer abc" -H 'X-Key: v' --token q https://a/?token=z`: `sh|-c|API_TOKEN=<1>; curl -u joe:<2> -H "Authorization: Bearer <3>" -H 'X-Key: v' --token <4> https://a/?token=<5>`,
		"sh|-c|echo the password is fine":                                                                                  "sh|-c|echo the password is fine",
		"curl|-sk|-ujoe:pw|--silent|-ujoe:pw|x":                                                                            "curl|-sk|-ujoe:<1>|--silent|-ujoe:<1>|x",
		"curl|-sku|joe:pw|-ujoe:pw|-HCookie: id=42|-bid=42|-sSbid=42|-dpin=1234|-o|x|-H|X-Key: v":                          "curl|-sku|joe:<1>|-ujoe:<1>|-HCookie: id=<2>|-bid=<2>|-sSbid=<2>|-dpin=<3>|-o|x|-H|X-Key: v",
		"wget|--header=Cookie: id=42|--post-data=password=pw|--user=joe|--password=pw":                                     "wget|--header=Cookie: id=<1>|--post-data=password=<2>|--user=joe|--password=<2>",
		"app|-bind=127.0.0.1:1|-usage:x|--url=https://a/?token=t":                                                          "app|-bind=127.0.0.1:1|-usage:x|--url=https://a/?token=<1>",
		`sh|-c|curl -sku "joe:a b" --cookie "id=42; x=y" && wget --header="Cookie: id=42" -q`:                              `sh|-c|curl -sku "joe:<1>" --cookie "id=<2>; x=<3>" && wget --header="Cookie: id=<2>" -q`,
		`sh|-c|TOKEN="a b" PIN='1 2' app --password="c d" -d "{\"password\":\"p\"}" "it's" don't; curl -ujoe:pw https://a`: `sh|-c|TOKEN="<1>" PIN='<2>' app --password="<3>" -d "{\"password\":\"<4>\"}" "it's" don't; curl -ujoe:<5> https://a`,
	} {
		argv := strings.Split(strings.Replace(in, "curl -H", "curl|-H", 1), "|")
		want = strings.Replace(want, "curl -H", "curl|-H", 1)
		if got := shape(strings.Join(New().argv(argv), "|")); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

type source string

func (s source) Body(bus.ConnID, uint64, bus.Dir) (io.ReadCloser, uint64, error) {
	return io.NopCloser(strings.NewReader(string(s))), uint64(len(s)), nil
}

// TestSameSecretSameName: within a run, wherever it stands; not between runs.
func TestSameSecretSameName(t *testing.T) {
	const secret = "s3cr3t-of-the-house"
	x := &exchange.Exchange{
		Request: &bus.Request{Method: "GET", URL: "https://a/x?sid=" + secret, Target: "/x?sid=" + secret, Headers: []bus.Field{{Name: "Cookie", Value: "sid=" + secret}},
			Raw: "GET /x?sid=" + secret + " HTTP/1.1\r\nCookie: sid=" + secret + "\r\n\r\n"},
		Response: &bus.Response{Headers: []bus.Field{{Name: "Set-Cookie", Value: "sid=" + secret}, {Name: "X-Echo", Value: "you sent " + secret}}},
		Messages: []exchange.Message{{Message: &bus.Message{Text: `{"note":"` + secret + `"}`}}},
		Process:  exchange.Process{PID: 1, Argv: []string{"app", secret}},
	}
	r := New()
	c := r.Exchange(x)
	body, _, err := r.Bodies(source("you are "+secret)).Body(0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(body)
	all := strings.Join([]string{c.Request.URL, c.Request.Target, c.Request.Raw, c.Request.Headers[0].Value, c.Response.Headers[0].Value, c.Response.Headers[1].Value,
		c.Messages[0].Text, c.Process.Argv[1], string(text)}, "\n")
	if strings.Contains(all, secret) || len(pseudonym.FindAllString(all, -1)) != 10 || strings.Contains(shape(all), "<2>") {
		t.Errorf("got\n%s", all)
	}
	if x.Request.Headers[0].Value != "sid="+secret {
		t.Error("the original was changed")
	}
	if r.name(secret) == New().name(secret) {
		t.Error("two runs give the same name")
	}
}

// TestBasicPassword: the password of a Basic authorization is found where it stands in clear.
func TestBasicPassword(t *testing.T) {
	r := New()
	r.header("Authorization", "Basic am9lOmh1bnRlcjItaHVudGVyMg==") // joe:hunter2-hunter2
	if got := shape(r.body("joe has hunter2-hunter2")); got != "joe has <1>" {
		t.Errorf("got %q", got)
	}
}

// TestParts: the parts of a multipart body lie elsewhere when it is redacted.
func TestParts(t *testing.T) {
	x := &exchange.Exchange{RequestEnd: &bus.MessageEnd{Trailers: []bus.Field{{Name: "X-Token", Value: "x"}}, Content: &bus.Content{Kind: "multipart", PartCount: 1, Parts: []bus.Part{{Name: "password", Size: 8}}}}}
	c := New().Exchange(x).RequestEnd
	if len(c.Content.Parts) != 0 || c.Content.PartCount != 1 || c.Trailers[0].Value == "x" {
		t.Errorf("got %+v", c)
	}
	if len(x.RequestEnd.Content.Parts) != 1 || x.RequestEnd.Trailers[0].Value != "x" {
		t.Error("the original was changed")
	}
}

func TestLargeBodyIsLeftOut(t *testing.T) {
	body, size, err := New().Bodies(source(bytes.Repeat([]byte("a"), MaxBody+1))).Body(0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(body); string(text) != leftOut || size != uint64(len(leftOut)) {
		t.Errorf("got %d bytes: %.80q", size, text)
	}
}

// FuzzBody: no text makes it fail, and redacting twice is redacting once.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"token":"x"}`, `a=b&token=c`, "--b\r\nname=\"token\"\r\n\r\nx\r\n--b--", `<token>x</token>`, `{"token":[{"a":"\"`, `"token":-`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := New()
		r.body(s)
		r.fieldLine(s)
		r.argument("--token", s)
		r.argv([]string{"curl", s, s})
	})
}
