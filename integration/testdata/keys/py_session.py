# Fetches a URL twice, the second time in the first one's session.
import socket, ssl, sys, urllib.parse
u = urllib.parse.urlsplit(sys.argv[1])
context = ssl._create_unverified_context()
session = None
for _ in range(2):
    with context.wrap_socket(socket.create_connection((u.hostname, u.port)), server_hostname="localhost", session=session) as s:
        s.sendall(f"GET {u.path} HTTP/1.1\r\nHost: {u.netloc}\r\n\r\n".encode())
        while s.recv(4096):
            pass
        session = s.session
