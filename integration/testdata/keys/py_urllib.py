import ssl, sys, urllib.request
for _ in range(2):
    urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context()).read()
