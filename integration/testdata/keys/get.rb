require 'net/http'
require 'openssl'
u = URI(ARGV[0])
h = Net::HTTP.new(u.host, u.port)
h.use_ssl = true
h.verify_mode = OpenSSL::SSL::VERIFY_NONE
2.times { h.start { h.get(u.path) } }
