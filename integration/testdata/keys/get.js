process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
const https = require('https');
const get = then => https.get(process.argv[2], r => r.resume().on('end', then));
get(() => get(() => {}));
