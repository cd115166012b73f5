import sys, requests, urllib3
urllib3.disable_warnings()
for _ in range(2):
    requests.get(sys.argv[1], verify=False).raise_for_status()
