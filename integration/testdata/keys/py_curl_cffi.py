# By the BoringSSL in curl_cffi's wheel; twice, the second time in the first one's session.
import sys
from curl_cffi import requests
with requests.Session(impersonate="chrome", verify=False, http_version="v1") as s:
    for _ in range(2):
        s.get(sys.argv[1])
