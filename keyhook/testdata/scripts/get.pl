use IO::Socket::SSL;
$ARGV[0] =~ m{https://([^:]+):(\d+)};
my $s = IO::Socket::SSL->new(PeerHost => $1, PeerPort => $2, SSL_verify_mode => SSL_VERIFY_NONE) or die $SSL_ERROR;
print $s "GET / HTTP/1.0\r\n\r\n";
print while <$s>;
