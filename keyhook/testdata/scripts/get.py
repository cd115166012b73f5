import ssl, sys, urllib.request
c = ssl._create_unverified_context()
print(urllib.request.urlopen(sys.argv[1], context=c).read().decode())
