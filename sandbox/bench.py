#!/usr/bin/env python3
"""Compares netd with slirp4netns and pasta, side by side, as ratios.

Usage, as root in the folder sandbox: ./bench.py [ROUNDS [SECONDS]]
Needs go, iperf3, nginx, wrk, slirp4netns and pasta. Every figure of a round is
taken right after the native one; printed is the median over the rounds.
"""
import json, os, resource, shutil, statistics, subprocess, sys, tempfile, time

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
LIMIT = "30"  # seconds, for each measurement
SECONDS = sys.argv[2] if len(sys.argv) > 2 else "2"
IPERF, HTTP, ECHO = "15201", "18081", "17001"
TICK = os.sysconf("SC_CLK_TCK")
tmp = tempfile.mkdtemp(prefix="clipper-bench-")
BIN = tmp + "/bench"


def cpu_of(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            x = f.read().rsplit(")", 1)[1].split()
        total += int(x[11]) + int(x[12])
    return total / TICK


def children():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


# How to run a command, and how the host's loopback is called there.
def run(argv):
    # A program that hangs is killed with all that it started.
    return subprocess.run(["timeout", "-s", "KILL", LIMIT] + argv, capture_output=True, text=True)


def native(argv):
    return run(argv)


def netd(argv):
    return run([BIN, "up", "{}"] + argv)


def slirp(argv):
    r, w = os.pipe()
    p = subprocess.Popen(["timeout", "-s", "KILL", LIMIT, "unshare", "-r", "-n", "sh", "-c", 'echo $$; read x; exec "$@"', "sh"] + argv,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pid = p.stdout.readline().strip()
    s = subprocess.Popen(["slirp4netns", "-c", "-m", "65520", "-r", str(w), pid, "tap0"], pass_fds=[w],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.read(r, 1)
    os.close(r), os.close(w)
    out, err = p.communicate("go\n")
    s.terminate(), s.wait()
    return subprocess.CompletedProcess(argv, p.returncode, out, err)


def pasta(argv):
    return run(["pasta", "-q", "--runas", "0", "--config-net", "-m", "65520", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--"] + argv)


def gateway():
    """What pasta maps to the host's loopback."""
    r = json.loads(subprocess.run(["ip", "-j", "route", "show", "default"], capture_output=True, text=True).stdout)
    return r[0]["gateway"] if r else "10.0.2.2"


HOWS = {"native": (native, "127.0.0.1"), "netd": (netd, "127.0.0.1"), "slirp4netns": (slirp, "10.0.2.2"), "pasta": (pasta, gateway())}


def checked(how, argv):
    r = how(argv)
    if r.returncode:
        raise RuntimeError(f"{argv}: {r.returncode}: {r.stdout} {r.stderr}")
    return r.stdout


def iperf(how, host, reverse):
    c, s = children(), cpu_of(servers["iperf"])
    out = checked(how, ["iperf3", "-c", host, "-p", IPERF, "-t", SECONDS, "-J"] + (["-R"] if reverse else []))
    end = json.loads(out)["end"]["sum_received"]
    gb = end["bytes"] / 1e9
    return end["bits_per_second"] / 1e9, (children() - c + cpu_of(servers["iperf"]) - s) / gb


def wrk(how, host):
    c, s = children(), cpu_of(servers["nginx"])
    out = checked(how, ["wrk", "-t", "1", "-c", "16", "-d", SECONDS, f"http://{host}:{HTTP}/"])
    n = int(next(l for l in out.splitlines() if "requests in" in l).split()[0])
    rate = float(next(l for l in out.splitlines() if "Requests/sec" in l).split()[1])
    return rate, (children() - c + cpu_of(servers["nginx"]) - s) / n * 1e6


def latency(how, host):
    return map(float, checked(how, [BIN, "client", "latency", f"{host}:{ECHO}"]).split())


def startup(how):
    def once():
        t = time.monotonic()
        checked(how, ["true"])
        return (time.monotonic() - t) * 1e3

    return [statistics.median(once() for _ in range(5))]


def measure(name):
    how, host = HOWS[name]
    m = {}

    def note(keys, f, *args):
        try:
            m.update(zip(keys, f(how, *args)))
        except (RuntimeError, StopIteration) as e:
            print(f"{name}: {keys}: {str(e)[:200]}", file=sys.stderr)
            m.update((k, float("nan")) for k in keys)

    note(["up Gb/s", "up CPU s/GB"], iperf, host, False)
    note(["down Gb/s", "down CPU s/GB"], iperf, host, True)
    note(["requests/s", "CPU us/request"], wrk, host)
    note(["round trip us", "connect us"], latency, host)
    note(["startup ms"], startup)
    return m


servers, started = {}, []
try:
    subprocess.run(["go", "test", "-c", "-o", BIN, "."], check=True, env=dict(os.environ, CGO_ENABLED="0"))
    p = subprocess.Popen(["iperf3", "-s", "-p", IPERF, "-B", "127.0.0.1"], stdout=subprocess.DEVNULL)
    started.append(p), servers.setdefault("iperf", [p.pid])
    started.append(subprocess.Popen([BIN, "client", "echo-server", f"127.0.0.1:{ECHO}"]))
    with open(tmp + "/index.html", "w") as f:
        f.write("x" * 1024)
    with open(tmp + "/nginx.conf", "w") as f:
        f.write(f"daemon off; master_process off; pid {tmp}/pid; error_log /dev/null;\n"
                f"events {{}}\nhttp {{ access_log off; keepalive_requests 1000000; server {{ listen 127.0.0.1:{HTTP}; root {tmp}; }} }}\n")
    p = subprocess.Popen(["nginx", "-c", tmp + "/nginx.conf", "-p", tmp])
    started.append(p), servers.setdefault("nginx", [p.pid])
    time.sleep(1)
    names = [n for n in HOWS if n in ("native", "netd") or shutil.which(n)]
    rounds = [{n: measure(n) for n in names} for _ in range(ROUNDS)]
    print(f"median of {ROUNDS} rounds of {SECONDS} s; in brackets the ratio to native")
    print(f"{'':16}" + "".join(f"{n:>22}" for n in names))
    for key in rounds[0]["native"]:
        row = f"{key:16}"
        for n in names:
            v = statistics.median(r[n][key] for r in rounds)
            ratio = statistics.median(r[n][key] / r["native"][key] for r in rounds)
            row += f"{v:12.1f} ({ratio:6.2f})" if v >= 100 else f"{v:12.2f} ({ratio:6.2f})"
            row += " "
        print(row)
finally:
    for p in started:
        p.terminate()
        p.wait()
    shutil.rmtree(tmp)
