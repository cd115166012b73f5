package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// mtu of the peers' tap devices, and Clipper's.
const mtu = "65520"

// how to run a command so that its traffic takes a certain way.
type how struct {
	name string
	host string // the host's loopback as seen from there
	run  func(dir string, argv ...string) (stdout string, err error)
}

// hows are the ways that this machine has, plain loopback first.
func hows(clipper, sandbox string) []how {
	list := []how{
		{"native", "127.0.0.1", func(_ string, argv ...string) (string, error) { return output(argv) }},
		// The sandbox and netd alone: what the others do.
		{"netd", "127.0.0.1", func(_ string, argv ...string) (string, error) {
			return output(append([]string{sandbox, "up", "{}"}, argv...))
		}},
		// Its packets recorded, too, but thrown away.
		{"captured", "127.0.0.1", func(_ string, argv ...string) (string, error) {
			return output(append([]string{sandbox, "up", `{"Capture":true}`}, argv...))
		}},
		// All of Clipper: captured and decoded too.
		{"clipper", "127.0.0.1", func(dir string, argv ...string) (string, error) {
			return output(append([]string{clipper, "up", "-q", "--no-devtools", "--"}, argv...), "CLIPPER_DIR="+filepath.Join(dir, "sessions"))
		}},
	}
	if _, err := exec.LookPath("slirp4netns"); err == nil {
		list = append(list, how{"slirp4netns", "10.0.2.2", slirp4netns})
	}
	if _, err := exec.LookPath("pasta"); err == nil {
		list = append(list, how{"pasta", gateway(), func(_ string, argv ...string) (string, error) {
			return output(append([]string{"pasta", "-q", "--runas", "0", "--config-net", "-m", mtu, "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--"}, argv...))
		}})
	}
	return list
}

func output(argv []string, env ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	return finish(cmd)
}

func finish(cmd *exec.Cmd) (string, error) {
	b, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%v: %w: %s%s", cmd.Args, err, b, e.Stderr)
	}
	return string(b), err
}

// slirp4netns runs a command in namespaces that slirp4netns connects.
func slirp4netns(_ string, argv ...string) (string, error) {
	start, go_, err := os.Pipe()
	if err != nil {
		return "", err
	}
	ready, tell, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer ready.Close()
	cmd := exec.Command("sh", append([]string{"-c", `read x <&3; exec "$@" 3<&-`, "sh"}, argv...)...)
	cmd.ExtraFiles = []*os.File{start}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var out strings.Builder
	cmd.Stdout = &out
	err = cmd.Start()
	start.Close()
	if err != nil {
		return "", err
	}
	nat := exec.Command("slirp4netns", "-c", "-m", mtu, "-r", "3", strconv.Itoa(cmd.Process.Pid), "tap0")
	nat.ExtraFiles = []*os.File{tell}
	err = nat.Start()
	tell.Close()
	if err == nil {
		_, err = ready.Read(make([]byte, 1))
	}
	fmt.Fprintln(go_, "go")
	go_.Close()
	err = errors.Join(err, cmd.Wait())
	if nat.Process != nil {
		nat.Process.Signal(syscall.SIGTERM)
		nat.Wait()
	}
	return out.String(), err
}

// gateway is the host's default gateway, which pasta maps to its loopback.
func gateway() string {
	b, _ := os.ReadFile("/proc/net/route")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 2 && f[1] == "00000000" {
			if n, err := strconv.ParseUint(f[2], 16, 32); err == nil {
				var a [4]byte
				binary.NativeEndian.PutUint32(a[:], uint32(n))
				return netip.AddrFrom4(a).String()
			}
		}
	}
	return "10.0.2.2"
}

// peers are the servers on the host's loopback.
type peers struct {
	dir             string
	iperf, nginx    *exec.Cmd
	iperfPort, port string
	echo            net.Listener
}

func startPeers(dir string) (p *peers, err error) {
	p = &peers{dir: dir}
	if p.echo, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := p.echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	ports := make([]string, 2)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
		l.Close()
	}
	p.iperfPort, p.port = ports[0], ports[1]
	config := fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log /dev/null;\nevents {}\n"+
		"http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:%[2]s; root %[1]s; } }\n", dir, p.port)
	if err := errors.Join(os.WriteFile(dir+"/index.html", make([]byte, 1024), 0o644), os.WriteFile(dir+"/nginx.conf", []byte(config), 0o644)); err != nil {
		return nil, err
	}
	p.iperf = exec.Command("iperf3", "-s", "-p", p.iperfPort, "-B", "127.0.0.1")
	p.nginx = exec.Command("nginx", "-c", dir+"/nginx.conf", "-p", dir)
	for _, cmd := range []*exec.Cmd{p.iperf, p.nginx} {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
	}
	for _, port := range ports {
		for range 100 {
			if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
				c.Close()
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return p, nil
}

func (p *peers) stop() {
	p.echo.Close()
	for _, cmd := range []*exec.Cmd{p.iperf, p.nginx} {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// cpu is what the servers and all programs that have ended so far have used, in seconds.
func (p *peers) cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u)
	used := map[string]usage{}
	look(p.iperf.Process.Pid, "iperf", used)
	look(p.nginx.Process.Pid, "nginx", used)
	return time.Duration(u.Utime.Nano()+u.Stime.Nano()).Seconds() + used["iperf"].cpu + used["nginx"].cpu
}

// Rows of the table.
var rows = []string{"up Gb/s", "up CPU s/GB", "down Gb/s", "down CPU s/GB", "requests/s", "CPU µs/request", "round trip µs", "connect µs", "`true` ms"}

// transfer is one run of iperf3.
type transfer struct {
	name string
	argv []string
}

// transfers are what tells how a program fares with a capture: what it moves at
// once may wait in memory for the bus, what it moves for long may not.
var transfers = []transfer{
	{"32 MiB down", []string{"-n", "32M", "-R"}},
	{"256 MiB down", []string{"-n", "256M", "-R"}},
	{"256 MiB up", []string{"-n", "256M"}},
	{"1 GiB down", []string{"-n", "1G", "-R"}},
	{sustained, []string{"-t", "12", "-R"}},
}

// sustained is the rate of the last three seconds.
const sustained = "sustained down"

// iperfRun is what iperf3 -J tells of it.
type iperfRun struct {
	Intervals []struct {
		Sum struct {
			Rate float64 `json:"bits_per_second"`
		}
	}
	End struct {
		Received struct {
			Bytes float64
			Rate  float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	}
}

func (p *peers) iperf3(h how, argv []string) (*iperfRun, error) {
	out, err := h.run(p.dir, append([]string{"iperf3", "-c", h.host, "-p", p.iperfPort, "-J"}, argv...)...)
	if err != nil {
		return nil, err
	}
	r := &iperfRun{}
	return r, json.Unmarshal([]byte(out), r)
}

// transfer fills in the rates of the transfers for one way, in Gb/s.
func (p *peers) transfer(h how, m map[string]float64) error {
	for _, t := range transfers {
		r, err := p.iperf3(h, t.argv)
		if err != nil {
			return err
		}
		m[t.name] = r.End.Received.Rate / 1e9
		if last := r.Intervals[max(0, len(r.Intervals)-3):]; t.name == sustained && len(last) > 0 {
			sum := 0.0
			for _, i := range last {
				sum += i.Sum.Rate
			}
			m[t.name] = sum / float64(len(last)) / 1e9
		}
	}
	return nil
}

// measure fills in the rows for one way.
func (p *peers) measure(h how, self string) (map[string]float64, error) {
	m := map[string]float64{}
	for i, how := range [][]string{{"-t", "1"}, {"-t", "1", "-R"}} {
		before := p.cpu()
		r, err := p.iperf3(h, how)
		if err != nil {
			return nil, err
		}
		m[rows[2*i]] = r.End.Received.Rate / 1e9
		m[rows[2*i+1]] = (p.cpu() - before) / r.End.Received.Bytes * 1e9
	}
	before := p.cpu()
	out, err := h.run(p.dir, "wrk", "-t", "1", "-c", "16", "-d", "1", "http://"+h.host+":"+p.port+"/")
	if err != nil {
		return nil, err
	}
	var n int
	for line := range strings.Lines(out) {
		if a, _, ok := strings.Cut(line, " requests in "); ok {
			n, _ = strconv.Atoi(strings.TrimSpace(a))
		}
		if _, b, ok := strings.Cut(line, "Requests/sec:"); ok {
			m["requests/s"], _ = strconv.ParseFloat(strings.TrimSpace(b), 64)
		}
	}
	if n == 0 {
		return nil, fmt.Errorf("%s: wrk printed %q", h.name, out)
	}
	m["CPU µs/request"] = (p.cpu() - before) / float64(n) * 1e6
	_, port, _ := net.SplitHostPort(p.echo.Addr().String())
	if out, err = h.run(p.dir, self, "latency", h.host+":"+port); err != nil {
		return nil, err
	}
	var trip, connect float64
	if _, err := fmt.Sscan(out, &trip, &connect); err != nil {
		return nil, err
	}
	m["round trip µs"], m["connect µs"] = trip, connect
	start := time.Now()
	_, err = h.run(p.dir, "true")
	m["`true` ms"] = ms(time.Since(start))
	return m, err
}

// network compares netd and all of Clipper with loopback, slirp4netns and pasta.
// The ways take turns; printed are medians, and in brackets those of the ratios
// to plain loopback in the same turn.
func network(clipper, sandbox string, turns int) error {
	dir, err := os.MkdirTemp("", "clipper-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // nginx reads it as another user
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := startPeers(dir)
	if err != nil {
		return err
	}
	defer p.stop()
	list := hows(clipper, sandbox)
	all := map[string][]map[string]float64{}
	for range turns {
		for _, h := range list {
			m, err := p.measure(h, self)
			if err == nil && slices.Contains(ours, h.name) {
				err = p.transfer(h, m)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			all[h.name] = append(all[h.name], m)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, h := range list {
		fmt.Fprintf(w, "\t%s", h.name)
	}
	fmt.Fprintln(w, "\t")
	for _, row := range rows {
		fmt.Fprint(w, row)
		for _, h := range list {
			fmt.Fprintf(w, "\t%.4g (%.2f)", median(all[h.name], row), ratio(all[h.name], all["native"], row))
		}
		fmt.Fprintln(w, "\t")
	}
	w.Flush()
	fmt.Println()
	for _, other := range list[4:] {
		fmt.Printf("netd : %s  ", other.name)
		for _, row := range rows[:len(rows)-1] {
			fmt.Printf("  %s %.2f", row, ratio(all["netd"], all[other.name], row))
		}
		fmt.Println()
	}
	fmt.Fprint(w, "\nGb/s (of netd alone)")
	for _, name := range ours {
		fmt.Fprintf(w, "\t%s", name)
	}
	fmt.Fprintln(w, "\t")
	for _, row := range append(names(transfers), "requests/s") {
		fmt.Fprint(w, row)
		for _, name := range ours {
			fmt.Fprintf(w, "\t%.4g (%.2f)", median(all[name], row), ratio(all[name], all["netd"], row))
		}
		fmt.Fprintln(w, "\t")
	}
	w.Flush()
	return memory(clipper, self, p)
}

// ours are the ways by netd: alone, with its packets recorded, with all of Clipper.
var ours = []string{"netd", "captured", "clipper"}

func names(list []transfer) (all []string) {
	for _, t := range list {
		all = append(all, t.name)
	}
	return all
}

func values(list []map[string]float64, row string) (v []float64) {
	for _, m := range list {
		v = append(v, m[row])
	}
	return v
}

func median(list []map[string]float64, row string) float64 { return middle(values(list, row)) }

func ratio(a, b []map[string]float64, row string) float64 {
	v, w := values(a, row), values(b, row)
	for i := range v {
		v[i] /= w[i]
	}
	return middle(v)
}

func middle(v []float64) float64 {
	slices.Sort(v)
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// memory prints what netd takes with a thousand connections.
func memory(clipper, self string, p *peers) error {
	cmd := exec.Command(clipper, "up", "-q", "--no-devtools", "--", self, "hold", p.echo.Addr().String(), "1000")
	cmd.Env = append(os.Environ(), "CLIPPER_DIR="+filepath.Join(p.dir, "sessions"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return fmt.Errorf("hold 1000 connections: %w", err)
	}
	for _, pid := range children(cmd.Process.Pid) {
		if cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasSuffix(string(cmdline), "\x00netd\x00") {
			fmt.Printf("netd with 1,000 connections: %.1f MiB resident\n", float64(resident(pid))/1024)
		}
	}
	in.Close()
	return cmd.Wait()
}

// resident is VmRSS in KiB.
func resident(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if _, after, ok := strings.Cut(string(status), "VmRSS:"); ok {
		n, _ := strconv.Atoi(strings.Fields(after)[0])
		return n
	}
	return 0
}

// hold keeps n connections, over each of which a byte went and came back, until
// standard input ends.
func hold(addr string, n int) error {
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := trip(c); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func trip(c net.Conn) error {
	var b [1]byte
	if _, err := c.Write(b[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b[:])
	return err
}

// latency prints the medians of a round trip and of a connection with one, in µs.
func latency(addr string) error {
	medianOf := func(n int, f func() error) (float64, error) {
		d := make([]float64, n)
		for i := range d {
			t := time.Now()
			if err := f(); err != nil {
				return 0, err
			}
			d[i] = float64(time.Since(t).Nanoseconds()) / 1e3
		}
		return middle(d), nil
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	round, err := medianOf(3000, func() error { return trip(c) })
	if err != nil {
		return err
	}
	connect, err := medianOf(500, func() error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		return trip(c)
	})
	fmt.Printf("%.1f %.1f\n", round, connect)
	return err
}
