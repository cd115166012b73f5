# By the OpenSSL that is linked into cryptography's wheel; twice, the second time in
# the first one's session.
import socket, sys, urllib.parse
from OpenSSL import SSL
u = urllib.parse.urlsplit(sys.argv[1])
context = SSL.Context(SSL.TLS_METHOD if hasattr(SSL, "TLS_METHOD") else SSL.SSLv23_METHOD)
session = None
for _ in range(2):
    s = SSL.Connection(context, socket.create_connection((u.hostname, u.port)))
    if session:
        s.set_session(session)
    s.set_connect_state()
    s.sendall(f"GET {u.path} HTTP/1.1\r\nHost: {u.netloc}\r\n\r\n".encode())
    try:
        while s.recv(4096):
            pass
    except SSL.ZeroReturnError:
        pass
    s.shutdown()  # else OpenSSL takes the session for a bad one
    session = s.get_session()
