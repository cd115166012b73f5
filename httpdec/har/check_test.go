package har

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Check validates a file against HAR 1.2, section by section of the
// specification, and lists what is wrong.
func Check(file []byte) []string {
	var root any
	if err := json.Unmarshal(file, &root); err != nil {
		return []string{err.Error()}
	}
	c := &checker{}
	log := c.object("log", c.object("", root)["log"])
	c.text("log.version", log["version"], "1.2")
	creator := c.object("log.creator", log["creator"])
	c.str("log.creator.name", creator["name"])
	c.str("log.creator.version", creator["version"])
	for i, e := range c.array("log.entries", log["entries"]) {
		c.entry(fmt.Sprintf("entries[%d]", i), c.object("", e))
	}
	return c.problems
}

type checker struct{ problems []string }

func (c *checker) bad(path, format string, args ...any) {
	c.problems = append(c.problems, path+": "+fmt.Sprintf(format, args...))
}

func (c *checker) object(path string, v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		c.bad(path, "not an object")
	}
	return m
}

func (c *checker) array(path string, v any) []any {
	a, ok := v.([]any)
	if !ok {
		c.bad(path, "not an array")
	}
	return a
}

func (c *checker) str(path string, v any) string {
	s, ok := v.(string)
	if !ok {
		c.bad(path, "not a string")
	}
	return s
}

func (c *checker) text(path string, v any, want string) {
	if c.str(path, v) != want {
		c.bad(path, "%v, want %s", v, want)
	}
}

func (c *checker) num(path string, v any, min float64) float64 {
	n, ok := v.(float64)
	if !ok || n < min {
		c.bad(path, "%v, want a number of at least %v", v, min)
	}
	return n
}

func (c *checker) integer(path string, v any) {
	if n := c.num(path, v, -1); n != math.Trunc(n) {
		c.bad(path, "%v is not an integer", v)
	}
}

func (c *checker) date(path string, v any) {
	if _, err := time.Parse(time.RFC3339Nano, c.str(path, v)); err != nil {
		c.bad(path, "%v", err)
	}
}

func (c *checker) entry(p string, e map[string]any) {
	c.date(p+".startedDateTime", e["startedDateTime"])
	total := c.num(p+".time", e["time"], 0)
	c.object(p+".cache", e["cache"])
	t := c.object(p+".timings", e["timings"])
	sum := 0.0
	for _, k := range []string{"blocked", "dns", "connect", "send", "wait", "receive", "ssl"} {
		least := -1.0
		if k == "send" || k == "wait" || k == "receive" {
			least = 0
		}
		if v := c.num(p+".timings."+k, t[k], least); v > 0 && k != "ssl" {
			sum += v
		}
	}
	if math.Abs(sum-total) > 1e-6 {
		c.bad(p, "time is %v, the sum of the timings %v", total, sum)
	}
	r := c.object(p+".request", e["request"])
	for _, k := range []string{"method", "url", "httpVersion"} {
		c.str(p+".request."+k, r[k])
	}
	c.message(p+".request", r)
	c.pairs(p+".request.queryString", r["queryString"])
	if v, ok := r["postData"]; ok {
		d := c.object(p+".postData", v)
		c.str(p+".postData.mimeType", d["mimeType"])
		c.str(p+".postData.text", d["text"])
		if v, ok := d["params"]; ok {
			for _, e := range c.array(p+".postData.params", v) {
				m := c.object(p+".postData.params", e)
				c.str(p+".postData.params.name", m["name"])
				for _, k := range []string{"value", "fileName", "contentType"} { // each is optional
					if v, ok := m[k]; ok {
						c.str(p+".postData.params."+k, v)
					}
				}
			}
		}
	}
	r = c.object(p+".response", e["response"])
	c.integer(p+".response.status", r["status"])
	for _, k := range []string{"statusText", "httpVersion", "redirectURL"} {
		c.str(p+".response."+k, r[k])
	}
	c.message(p+".response", r)
	content := c.object(p+".content", r["content"])
	c.integer(p+".content.size", content["size"])
	c.str(p+".content.mimeType", content["mimeType"])
}

func (c *checker) message(p string, m map[string]any) {
	c.pairs(p+".headers", m["headers"])
	c.pairs(p+".cookies", m["cookies"])
	for i, v := range c.array(p+".cookies", m["cookies"]) {
		if e, ok := c.object(p, v)["expires"]; ok {
			c.date(fmt.Sprintf("%s.cookies[%d].expires", p, i), e)
		}
	}
	c.integer(p+".headersSize", m["headersSize"])
	c.integer(p+".bodySize", m["bodySize"])
}

func (c *checker) pairs(path string, v any) {
	for i, e := range c.array(path, v) {
		m := c.object(path, e)
		c.str(fmt.Sprintf("%s[%d].name", path, i), m["name"])
		c.str(fmt.Sprintf("%s[%d].value", path, i), m["value"])
	}
}
